"""Borrow memory from anything with the buffer protocol, with one check and a clear error."""

cdef int borrow_octets(object data, Py_buffer *view, str name) except -1
cdef int borrow_int16(object pcm, Py_buffer *view, str name) except -1
cdef int borrow_int16_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1
cdef int borrow_octets_out(object out, Py_buffer *view, Py_ssize_t n_octets) except -1
# int16 or float32: the size of a sample in octets is returned, 2 or 4; the same kind is then asked of out.
cdef int borrow_samples(object pcm, Py_buffer *view, str name) except -1
cdef int borrow_samples_out(object out, Py_buffer *view, Py_ssize_t n_samples, int sample_size) except -1
