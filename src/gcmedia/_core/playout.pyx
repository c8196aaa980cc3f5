"""How long to hold packets: the measured spread of their arrival, and a delay that covers most of it.

A packet's transit is its arrival minus its media time.  It says nothing by itself, for the two clocks differ by an
unknown amount; what counts is how far it lies over the least transit of the last 20 seconds, the base.  Such a
window follows clocks that drift apart: at 200 ppm the base lags by 4 ms at most.

Three parts make the delay:

* A histogram of transits that forgets exponentially gives the quantile.  It goes with the base where clocks drift,
  and lies still when the base leaps, as by a new route.
* The share of it that is asked for is steered: each late packet lowers it by 3 %, each one in time raises it
  by so little that the two cancel when ``1 - quantile`` of the packets are late, whatever their statistics.
* A late packet raises the delay to its own at once.  While those that queued behind it come, it falls as their own
  transits do: each is due within a packet's time of its arrival.  What then is left fades in a few tenths of a
  second.  A spike so costs one packet, and hardly more delay than it made itself.

What queued behind a late packet tells of the same event, and what is later than the greatest delay tells nothing of
those within the bounds: neither enters the histogram, nor steers.  So a stall of seconds leaves the delay as it was.

Peaks need no history of their own.  Rare ones are ridden out by the third part.  Where they come so often that
one packet for each is too many, the second part takes the histogram's tail in, where they are.
"""

cimport cython
from libc.math cimport NAN, fabs, floor, isnan
from libc.string cimport memset

from gcmedia.errors import ConfigError

cdef double SPAN = 2.5                      # seconds; N_SPANS of them are the window of the base
cdef double MAX_DRIFT = 0.002               # seconds, in one move of the base: 200 ppm make 0.5 ms in a span
cdef double START_DELAY = 0.060             # seconds; falls evenly to what the first START_PACKETS have told
cdef int START_PACKETS = 25
cdef double FADE_RATE = 10.0                # per second: a rise fades nearly as exp(-FADE_RATE * t)
cdef double LATE_FACTOR = 0.97              # of the share, for each late packet
cdef double MAX_STEER = 8.0                 # the share stays within this factor of what is allowed
cdef double MAX_WEIGHT = 1e9
cdef double LEAP = 1.0                      # seconds before base, or ...
cdef double LEAP_TIME = 2.0                 # ... seconds over the maximum: a clock was set, the network is not to blame
cdef int LEAP_PACKETS = 3
cdef double NONSENSE = 1e12                 # seconds; no clock tells such a time


@cython.final
cdef class PlayoutEstimator:
    """Estimate the playout delay that lets a given share of the packets come in time.

    Parameters
    ----------
    quantile : float
        Share of the packets that shall come in time, 0.5 to 0.9999.
    min_delay_ms, max_delay_ms : float
        Bounds of the delay, 0 to 10 000 ms; the histogram resolves a 500th of the upper one.
    memory_packets : int
        Packets after which the weight of one has fallen to 1/e, 50 to 1 000 000.

    Raises
    ------
    gcmedia.ConfigError
        If a setting is out of its range.

    Notes
    -----
    Memory is fixed, and the cost of a packet does not grow with the memory of the estimator.  The delay begins at
    60 ms, or the nearest bound, and over the first 25 packets falls to what they tell.  A clock that leaps makes the
    estimate begin anew: a transit of more than a second before the base in three packets in a row, or two seconds
    without a packet that a delay within the bounds would have saved.
    """

    def __cinit__(self, *, double quantile=0.99, double min_delay_ms=10.0, double max_delay_ms=500.0,
                  int memory_packets=2000):
        if not 0.5 <= quantile <= 0.9999:
            raise ConfigError(f"quantile is {quantile}, not in [0.5, 0.9999]")
        if not 0.0 <= min_delay_ms <= max_delay_ms <= 10_000.0 or max_delay_ms < 1.0:
            raise ConfigError(
                f"min_delay_ms is {min_delay_ms} ms and max_delay_ms {max_delay_ms} ms, "
                f"not 0 <= min <= max, 1 <= max <= 10000"
            )
        if not 50 <= memory_packets <= 1_000_000:
            raise ConfigError(f"memory_packets is {memory_packets}, not in [50, 1000000]")
        self.quantile = quantile
        self.min_delay_ms = min_delay_ms
        self.max_delay_ms = max_delay_ms
        self.memory_packets = memory_packets
        self._min_delay = min_delay_ms / 1000.0
        self._max_delay = max_delay_ms / 1000.0
        self._allowed = 1.0 - quantile
        self._width = self._max_delay / 500.0
        self._bins_per_second = 1.0 / self._width
        self._least_share = self._allowed / MAX_STEER
        self._greatest_share = min(self._allowed * MAX_STEER, 0.5)
        self._growth = memory_packets / (memory_packets - 1.0)
        self._in_time_factor = LATE_FACTOR ** (-self._allowed / quantile)
        self.restart()

    cdef void restart(self) noexcept nogil:
        self._n_packets = 0
        self._share = self._allowed
        self._refill = 0.0
        self.base = 0.0
        self.target = min(max(START_DELAY, self._min_delay), self._max_delay)

    cdef void _start(self, double arrival, double transit) noexcept nogil:
        self.restart()
        self._span = floor(arrival / SPAN) - N_SPANS    # all of them are forgotten
        self._begin_span(arrival, transit)
        memset(self._bins, 0, sizeof(self._bins))
        self._origin = transit
        self._weight = 1.0
        self._total = self._above = 0.0
        self._edge = 0
        self._behind_since = NAN
        self._n_ahead = 0
        self._draining = False
        self._last_arrival = arrival

    cdef inline double due_at(self, double media_time) noexcept nogil:
        return media_time + self.base + self.target

    cdef bint observe(self, double arrival, double media_time) noexcept nogil:
        cdef double transit = arrival - media_time
        cdef double waited
        cdef bint late, queued
        if not (fabs(transit) < NONSENSE and fabs(arrival) < NONSENSE):
            return False                    # nor NaN
        if self._n_packets == 0 or self._leaps(arrival, transit):
            self._start(arrival, transit)
        if self._n_ahead:
            return False                    # not believed yet, and surely not late
        late = transit > self.base + self.target
        self._n_packets += 1

        waited = max(0.0, arrival - self._last_arrival)
        queued = self._draining and waited < 0.5 * (media_time - self._last_media_time)
        self._draining = late or queued
        self._last_arrival = arrival
        self._last_media_time = media_time
        self._refill *= max(0.0, 1.0 - FADE_RATE * waited)
        self._track_base(arrival, transit)
        if not queued and transit <= self.base + self._max_delay:
            self._add(transit)
            self._share *= LATE_FACTOR if late else self._in_time_factor
            self._share = min(max(self._share, self._least_share), self._greatest_share)
        if late or queued:
            self._refill = transit - self.base
        self._settle()
        return late

    cdef bint _leaps(self, double arrival, double transit) noexcept nogil:
        """Whether one of the clocks has been set."""
        if transit < self.base - LEAP:
            self._n_ahead += 1
            return self._n_ahead >= LEAP_PACKETS
        self._n_ahead = 0
        if transit <= self.base + self._max_delay:
            self._behind_since = NAN
            return False
        if isnan(self._behind_since):
            self._behind_since = arrival
        return arrival - self._behind_since > LEAP_TIME

    cdef inline void _track_base(self, double arrival, double transit) noexcept nogil:
        """The least transit of the last N_SPANS spans of time."""
        cdef double before = self.base
        if arrival >= self._span_end:
            self._begin_span(arrival, transit)
        elif transit < self._least[self._newest]:
            self._least[self._newest] = transit
            if transit < before:
                self.base = transit
        if self.base != before:
            self._follow_base(before)

    cdef void _begin_span(self, double arrival, double transit) noexcept nogil:
        """Forget the oldest spans, and look for the least anew."""
        cdef double span = floor(arrival / SPAN)
        cdef int i
        for i in range(<int>min(span - self._span, <double>N_SPANS)):
            self._least[<int>((<long long>span - i) & (N_SPANS - 1))] = NAN
        self._span = span
        self._span_end = (span + 1.0) * SPAN
        self._newest = <int>(<long long>span & (N_SPANS - 1))
        self._least[self._newest] = self.base = transit
        for i in range(N_SPANS):
            if self._least[i] < self.base:              # not for NaN
                self.base = self._least[i]

    cdef void _follow_base(self, double before) noexcept nogil:
        """The histogram begins at base or up to a bin below it.  What a drift moves, moves with the base."""
        if fabs(self.base - before) <= MAX_DRIFT:
            self._origin += self.base - before
        elif self.base < self._origin or self.base >= self._origin + self._width:
            self._shift(floor((self.base - self._origin) / self._width))

    cdef void _shift(self, double n_bins) noexcept nogil:
        """Let the histogram begin ``n_bins`` later; what falls off an end joins the last bin there."""
        cdef double moved[N_BINS]
        cdef double place
        cdef int i
        memset(moved, 0, sizeof(moved))
        for i in range(N_BINS):
            place = min(max(i - n_bins, 0.0), N_BINS - 1.0)
            moved[<int>place] += self._bins[i]
        for i in range(N_BINS):
            self._bins[i] = moved[i]
        self._origin += n_bins * self._width
        self._edge = <int>min(max(self._edge - n_bins, 0.0), N_BINS - 1.0)
        self._rescale()

    cdef void _rescale(self) noexcept nogil:
        """Bring the weight of the next packet back to 1, and the sums to what the bins say."""
        cdef double scale = 1.0 / self._weight
        cdef int i
        self._total = self._above = 0.0
        self._weight = 1.0
        for i in range(N_BINS):
            self._bins[i] *= scale
            self._total += self._bins[i]
            if i > self._edge:
                self._above += self._bins[i]

    cdef void _add(self, double transit) noexcept nogil:
        cdef int i = <int>min(max((transit - self._origin) * self._bins_per_second, 0.0), N_BINS - 1.0)
        self._weight *= self._growth
        if self._weight > MAX_WEIGHT:
            self._rescale()
        self._bins[i] += self._weight
        self._total += self._weight
        if i > self._edge:
            self._above += self._weight

    cdef void _settle(self) noexcept nogil:
        """Find the quantile, from where it was, and with it the delay."""
        cdef double over = self._share * self._total
        cdef double inside, delay
        while self._above > over and self._edge < N_BINS - 1:
            self._edge += 1
            self._above -= self._bins[self._edge]
        while self._edge > 0 and self._above + self._bins[self._edge] <= over:
            self._above += self._bins[self._edge]
            self._edge -= 1
        # Within its bin the weight is taken as spread evenly.
        inside = (over - self._above) / self._bins[self._edge] if self._bins[self._edge] > 0.0 else 0.0
        delay = self._origin + (self._edge + 1 - min(max(inside, 0.0), 1.0)) * self._width - self.base
        if self._n_packets < START_PACKETS:
            delay = max(delay, START_DELAY * (1.0 - self._n_packets / <double>START_PACKETS))
        self.target = min(max(delay, self._refill, self._min_delay), self._max_delay)

    def push(self, double arrival, double media_time):
        """Take one packet, in order of arrival.

        Parameters
        ----------
        arrival : float
            Seconds of the receiver's monotonic clock.
        media_time : float
            Seconds of the sender's media clock.  A packet whose clocks lie 1e12 s or more apart tells nothing.

        Returns
        -------
        bool
            Whether it came after it was due.
        """
        return self.observe(arrival, media_time)

    def due(self, double media_time):
        """When a packet of this media time is due, in seconds of the receiver's clock."""
        return self.due_at(media_time)

    def reset(self):
        """Forget everything: the sender's clock has begun anew."""
        self.restart()

    @property
    def target_delay_s(self):
        """Delay over the base, in seconds, within the bounds."""
        return self.target

    @property
    def base_s(self):
        """Least arrival minus media time of the last 20 seconds; 0 before the first packet."""
        return self.base
