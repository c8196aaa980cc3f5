"""Borrow memory from anything with the buffer protocol, with one check and a clear error."""

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t

cdef int borrow_octets_of(object data, Py_buffer *view, str name) except -1
cdef int borrow_int16_of(object pcm, Py_buffer *view, str name) except -1
cdef int borrow_samples_of(object pcm, Py_buffer *view, str name) except -1

cdef extern from *:
    """
    /* Bytes need no buffer protocol; without obj, PyBuffer_Release does nothing. */
    static inline void view_bytes(PyObject *octets, Py_buffer *view)
    {
        view->obj = NULL;
        view->buf = PyBytes_AS_STRING(octets);
        view->len = PyBytes_GET_SIZE(octets);
        view->ndim = 1;
        view->shape = NULL;
    }
    /* Nothing of Python runs while such a view is used, so that nobody can resize the array. */
    static inline int view_bytearray(PyObject *octets, Py_buffer *view)
    {
        if (!PyByteArray_CheckExact(octets) || (uintptr_t)PyByteArray_AS_STRING(octets) & 1)
            return 0;
        view->obj = NULL;
        view->buf = PyByteArray_AS_STRING(octets);
        view->len = PyByteArray_GET_SIZE(octets);
        return 1;
    }
    static inline void view_nothing(Py_buffer *view)
    {
        view->obj = NULL;
    }
    """
    void view_bytes(object octets, Py_buffer *view) noexcept nogil
    bint view_bytearray(object octets, Py_buffer *view) noexcept
    # For a view that may stay unused, yet is released.
    void view_nothing(Py_buffer *view) noexcept nogil


# The view is good for as long as the caller holds a reference to the object itself.

cdef inline int borrow_octets(object data, Py_buffer *view, str name) except -1:
    if not PyBytes_CheckExact(data):
        return borrow_octets_of(data, view, name)
    view_bytes(data, view)
    return 0


cdef inline int borrow_int16(object pcm, Py_buffer *view, str name) except -1:
    if not PyBytes_CheckExact(pcm) or PyBytes_GET_SIZE(pcm) & 1:
        return borrow_int16_of(pcm, view, name)
    view_bytes(pcm, view)
    return 0


cdef inline int borrow_samples(object pcm, Py_buffer *view, str name) except -1:
    """int16 or float32; return the size of a sample in octets, 2 or 4."""
    if not PyBytes_CheckExact(pcm) or PyBytes_GET_SIZE(pcm) & 1:
        return borrow_samples_of(pcm, view, name)
    view_bytes(pcm, view)
    return 2


cdef int borrow_int16_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1
cdef int borrow_octets_out(object out, Py_buffer *view, Py_ssize_t n_octets) except -1
# The same kind as the input's, of which `borrow_samples` gave the size.
cdef int borrow_samples_out(object out, Py_buffer *view, Py_ssize_t n_samples, int sample_size) except -1
# The same for an output of either kind, whatever the input is.
cdef int borrow_either_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1
# A writable buffer of int16 or its octets, of any length.
cdef int borrow_samples_into(object out, Py_buffer *view, str name) except -1
# Integers of 32 or 64 bits; integer_at reads one of them.
cdef int borrow_integers(object numbers, Py_buffer *view, str name) except -1
cdef int borrow_integers_out(object numbers, Py_buffer *view, str name) except -1
# Offsets of neighbouring pieces of so many octets: in order, none beyond.
cdef int check_offsets(Py_buffer *offsets, Py_ssize_t n_octets) except -1


cdef inline int64_t integer_at(const Py_buffer *view, Py_ssize_t i) noexcept nogil:
    return (<const int32_t *>view.buf)[i] if view.itemsize == 4 else (<const int64_t *>view.buf)[i]
