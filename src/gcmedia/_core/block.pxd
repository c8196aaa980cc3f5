"""Whole frames of all channels, side by side."""

from libc.stdint cimport int16_t, int64_t, uint8_t

from gcmedia._core.processor cimport MAX_CHANNELS, Processor


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
    cdef FrameNote *notes_at                # into all these, for use without the GIL
    cdef (int16_t *)[MAX_CHANNELS] raw_at
    cdef (int16_t *)[MAX_CHANNELS] pcm_at

    cdef int _check(self, int channel) except -1
    cdef FrameNote *_note(self, int frame, int channel) noexcept nogil
    cdef list _runs(self, int channel, bint of_silence)


# The processor has no frame of which some channels have been taken already.
cdef Block new_block(Processor processor, int64_t n_frames, int64_t n_samples)
cdef void move_frame(Processor processor, Block block) noexcept nogil
# Decode whole frames of all channels to their place; only while the processor `takes_whole`.
cdef void decode_frames(Processor processor, Block block, const uint8_t *octets, int64_t n_frames) noexcept nogil
# A frame is there: move it, then feed from the octets and move, as far as these go and the block has room.
# Samples taken; -1 when memory is out.
cdef Py_ssize_t run_through(Processor processor, Block block, int64_t n_frames, const uint8_t *octets,
                            Py_ssize_t n_samples) noexcept nogil
