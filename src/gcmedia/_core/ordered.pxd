"""Audio that comes in order and without headers, as over TCP: octets in, blocks of whole frames out."""

from libc.stdint cimport int64_t, uint8_t

from gcmedia._core.processor cimport Processor


cdef struct FrameNote:          # of one frame of one channel
    int64_t squares             # of its raw samples: their sum
    int made_up                 # samples that were not received
    bint silent


cdef class Block:
    cdef readonly int64_t position          # of the first sample
    cdef readonly int n_samples             # per channel
    cdef readonly int n_frames              # per channel; the last one may be short
    cdef readonly int n_channels
    cdef readonly int frame_samples
    cdef readonly int sample_rate           # Hz
    cdef readonly int silent_frames         # over all channels
    cdef readonly int concealed_frames      # likewise
    cdef bytes notes                        # of FrameNote, a frame's channels side by side
    cdef list raw_octets                    # bytes of int16, one a channel
    cdef list pcm_octets                    # the same list when nothing cleans

    cdef FrameNote *_note(self, int frame, int channel) noexcept
    cdef list _runs(self, int channel, bint of_silence)


cdef class OrderedReceiver:
    cdef Processor processor
    cdef readonly str encoding
    cdef readonly str last_refusal
    cdef double fill_s
    cdef bint paused, ended
    cdef int64_t max_octets                 # of one payload
    cdef int64_t received, played, discarded, refused_empty, refused_long, ragged, octets
    cdef int64_t made_up_samples, n_skipped
    cdef list noted                         # holes that nobody has taken, (position, n_samples, cause)

    cdef Block _block(self, int64_t n_frames, int64_t n_samples)
    cdef int _take(self, Block block) except -1
    cdef Block _jump_or_fill(self, int64_t n_samples, str cause)
    cdef Block _drain(self)
    cdef Block _jump(self, int64_t n_samples)
    cdef Block _run(self, const uint8_t *octets, int64_t n_samples)
    cdef int _note_hole(self, int64_t n_samples, str cause) except -1
