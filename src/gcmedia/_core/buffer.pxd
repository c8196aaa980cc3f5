"""Borrow memory from anything with the buffer protocol, with one check and a clear error."""

cdef int borrow_octets(object data, Py_buffer *view, str name) except -1
cdef int borrow_int16(object pcm, Py_buffer *view, str name) except -1
cdef int borrow_int16_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1
cdef int borrow_octets_out(object out, Py_buffer *view, Py_ssize_t n_octets) except -1
