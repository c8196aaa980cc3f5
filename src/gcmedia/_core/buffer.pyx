"""Borrow memory from anything with the buffer protocol, with one check and a clear error.

Each function fills ``view``; the caller releases it with ``PyBuffer_Release``.  On an error nothing is held.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)


cdef int borrow_octets(object data, Py_buffer *view, str name) except -1:
    """View ``data`` as octets, whatever its item type."""
    try:
        return PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except (TypeError, BufferError):
        raise TypeError(
            f"{name} must be bytes or a C-contiguous buffer, not {type(data).__name__}"
        ) from None


cdef bint _is_int16(Py_buffer *view) noexcept:
    cdef const char *code = view.format
    if code == NULL:
        return True                                     # plain octets
    if code[0] == b'<' or code[0] == b'=' or code[0] == b'@':
        code += 1
    if code[0] == b'h' and code[1] == 0:
        return view.itemsize == 2
    return (code[0] == b'B' or code[0] == b'b' or code[0] == b'c') and code[1] == 0


cdef int _borrow_pcm(object pcm, Py_buffer *view, int flags, str name) except -1:
    try:
        PyObject_GetBuffer(pcm, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    except (TypeError, BufferError, ValueError):
        kind = "writable C-contiguous" if flags & PyBUF_WRITABLE else "C-contiguous"
        raise TypeError(f"{name} must be a {kind} buffer of int16, not {type(pcm).__name__}") from None
    if not _is_int16(view):
        found = view.format.decode("ascii", "replace")
        PyBuffer_Release(view)
        raise TypeError(f"{name} must hold int16 samples (or their octets), not items of format {found!r}")
    if view.len & 1:
        size = view.len
        PyBuffer_Release(view)
        raise ValueError(f"{name} has {size} octets, which is no whole number of int16 samples")
    return 0


cdef int borrow_int16(object pcm, Py_buffer *view, str name) except -1:
    """View ``pcm`` as int16 samples in native order; plain octets are taken as such."""
    return _borrow_pcm(pcm, view, 0, name)


cdef int borrow_int16_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1:
    """View ``out`` as exactly ``n_samples`` writable int16 samples."""
    _borrow_pcm(out, view, PyBUF_WRITABLE, "out")
    if view.len != 2 * n_samples:
        size = view.len // 2
        PyBuffer_Release(view)
        raise ValueError(f"out has room for {size} samples, {n_samples} are needed")
    return 0


cdef int borrow_octets_out(object out, Py_buffer *view, Py_ssize_t n_octets) except -1:
    """View ``out`` as exactly ``n_octets`` writable octets."""
    try:
        PyObject_GetBuffer(out, view, PyBUF_WRITABLE)
    except (TypeError, BufferError):
        raise TypeError(f"out must be a writable C-contiguous buffer, not {type(out).__name__}") from None
    if view.len != n_octets:
        size = view.len
        PyBuffer_Release(view)
        raise ValueError(f"out has room for {size} octets, {n_octets} are needed")
    return 0
