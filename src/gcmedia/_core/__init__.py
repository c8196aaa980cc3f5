"""The compiled core: octets in, samples out.  No sockets, no clock, no Python object per packet."""
