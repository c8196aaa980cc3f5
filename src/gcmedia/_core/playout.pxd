"""How long to hold packets: the measured spread of their arrival, and a delay that covers most of it."""

cdef enum:
    N_BINS = 512            # of the histogram
    N_SPANS = 8             # of the window over which the least delay is looked for

cdef class PlayoutEstimator:
    cdef readonly double quantile           # share of the packets that shall come in time
    cdef readonly double min_delay_ms
    cdef readonly double max_delay_ms
    cdef readonly int memory_packets
    cdef double base                        # seconds: least arrival minus media time of the window
    cdef double target                      # seconds over base
    # Take one packet, in order of arrival; say whether it came after it was due.
    cdef bint observe(self, double arrival, double media_time) noexcept nogil
    cdef void restart(self) noexcept nogil  # the sender's clock began anew
    cdef double due_at(self, double media_time) noexcept nogil

    cdef double _min_delay, _max_delay      # seconds
    cdef double _allowed                    # share that may be late: 1 - quantile
    cdef double _share                      # that the histogram is asked for, steered so that _allowed comes out
    cdef double _least_share, _greatest_share
    cdef double _in_time_factor             # of the share, for each packet in time
    cdef long long _n_packets
    cdef double _last_arrival, _last_media_time
    cdef bint _draining                     # the last packet was late, or came right behind such a one
    # The histogram of arrival minus media time; bin i begins at _origin + i * _width
    cdef double _width, _origin             # seconds
    cdef double _bins_per_second            # 1 / _width
    cdef double _growth, _weight, _total    # each packet weighs _growth times the one before it
    cdef double _above                      # weight in the bins over _edge
    cdef int _edge                          # bin that holds the quantile
    cdef double[N_BINS] _bins
    # The least delay of each span of time, the newest at _span % N_SPANS
    cdef double[N_SPANS] _least
    cdef double _span, _span_end            # its number; seconds
    cdef int _newest
    # A late packet raises the delay at once
    cdef double _refill                     # seconds over base
    # Clocks that leap
    cdef double _behind_since               # arrival of the first of a row of packets over the maximum, or NaN
    cdef int _n_ahead                       # packets in a row far before base
    cdef void _start(self, double arrival, double transit) noexcept nogil
    cdef bint _leaps(self, double arrival, double transit) noexcept nogil
    cdef void _track_base(self, double arrival, double transit) noexcept nogil
    cdef void _begin_span(self, double arrival, double transit) noexcept nogil
    cdef void _follow_base(self, double before) noexcept nogil
    cdef void _shift(self, double n_bins) noexcept nogil
    cdef void _rescale(self) noexcept nogil
    cdef void _add(self, double transit) noexcept nogil
    cdef void _settle(self) noexcept nogil
