"""A block of decoded samples on the timeline."""

from libc.stdint cimport int64_t

cdef enum Coding:           # of the raw samples that a frame keeps
    LINEAR = 0              # int16
    ULAW = 1
    ALAW = 2

cdef class Frame:
    cdef readonly int channel               # index into the stream's channels
    cdef Coding coding
    cdef readonly int64_t position          # of the first sample, since the start of the call
    cdef readonly int n_samples
    cdef readonly int sample_rate           # Hz
    cdef readonly bint silent
    cdef readonly int concealed_samples     # made up for what never came, was paused or overrun
    cdef int64_t squares                    # of the raw samples: their sum
    cdef bytes raw_octets                   # as received until somebody asks, where `coding` is not LINEAR
    cdef bytes pcm_octets                   # the same object when nothing cleans the audio
