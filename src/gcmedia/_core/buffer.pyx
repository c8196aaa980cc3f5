"""Borrow memory from anything with the buffer protocol, with one check and a clear error.

Each function fills ``view``; the caller releases it with ``PyBuffer_Release``.  On an error nothing is held.
Kernels read whole samples, so an input that begins at an odd address is copied first, and such an output refused.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uintptr_t

cdef extern from *:
    """
    /* An error is set aside only where there is one: try and except cost a packet a tenth of its time. */
    static PyObject *fetch_error(void)
    {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        PyErr_NormalizeException(&type, &value, &trace);
        Py_XDECREF(type);
        Py_XDECREF(trace);
        return value;
    }
    """
    # Returns -1 with an error set, which `fetch_error` takes.
    int try_buffer "PyObject_GetBuffer" (object data, Py_buffer *view, int flags) noexcept
    object fetch_error()

cdef str SAMPLE_NAMES = "int16"
cdef str EITHER_NAMES = "int16 or float32"


cdef int borrow_octets_of(object data, Py_buffer *view, str name) except -1:
    """View ``data`` as octets, whatever its item type."""
    if try_buffer(data, view, PyBUF_SIMPLE) < 0:
        _explain(data, PyBUF_SIMPLE, None, name)
    return 0


cdef int _explain(object data, int flags, str items, str name) except -1:
    """Say what is wrong with a buffer that could not be had, in place of the error that is set."""
    error = fetch_error()           # first of all: no other code may run while an error is set
    if not isinstance(error, (TypeError, BufferError, ValueError)):
        raise error
    if flags & PyBUF_WRITABLE:
        wanted = "a writable C-contiguous buffer"
    else:
        wanted = "a C-contiguous buffer" if items else "bytes or a C-contiguous buffer"
    if items:
        wanted += f" of {items}"
    raise TypeError(f"{name} must be {wanted}, not {_describe(data)}")


cdef str _describe(object data):
    # A buffer that was refused although its type is right is a strided or read-only one.
    return f"this {type(data).__name__}" if isinstance(data, memoryview) else type(data).__name__


cdef int _sample_size(Py_buffer *view) noexcept:
    """Size of a sample in octets: 2 for int16 or plain octets, 4 for float32, 0 for anything else."""
    cdef const char *code = view.format
    if code == NULL:
        return 2                                        # plain octets
    if code[0] == b'<' or code[0] == b'=' or code[0] == b'@':
        code += 1
    if code[0] == 0 or code[1] != 0:
        return 0
    if code[0] == b'h' and view.itemsize == 2:
        return 2
    if code[0] == b'f' and view.itemsize == 4:
        return 4
    return 2 if code[0] == b'B' or code[0] == b'b' or code[0] == b'c' else 0


cdef int _borrow(object pcm, Py_buffer *view, int flags, str name, str wanted) except -1:
    """View ``pcm`` and return the size of its samples, which may be 0 for a type that is unknown."""
    if try_buffer(pcm, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0:
        _explain(pcm, flags, wanted, name)
    return _sample_size(view)


cdef int _refuse(Py_buffer *view, str name, str wanted) except -1:
    found = view.format.decode("ascii", "replace")
    PyBuffer_Release(view)
    raise TypeError(f"{name} must hold {wanted} samples (or their octets), not items of format {found!r}")


cdef int _check_input(Py_buffer *view, str name, int sample_size) except -1:
    """Refuse a part of a sample; copy what is not aligned."""
    if view.len & (sample_size - 1):
        size = view.len
        PyBuffer_Release(view)
        raise ValueError(f"{name} has {size} octets, which is no whole number of samples of {sample_size} octets")
    if <uintptr_t>view.buf & (sample_size - 1):
        aligned = (<char *>view.buf)[:view.len]         # a new bytes object, which the view then keeps alive
        PyBuffer_Release(view)
        PyObject_GetBuffer(aligned, view, PyBUF_SIMPLE)
    return 0


cdef int _check_output(Py_buffer *view, Py_ssize_t n_samples, int sample_size) except -1:
    if view.len != sample_size * n_samples:
        size = view.len
        PyBuffer_Release(view)
        raise ValueError(
            f"out has {size} octets, {sample_size * n_samples} are needed for {n_samples} samples of {sample_size}"
        )
    if view.len and <uintptr_t>view.buf & (sample_size - 1):
        PyBuffer_Release(view)
        raise ValueError(f"out begins at an address that is no multiple of {sample_size}, the size of a sample")
    return 0


cdef int borrow_int16_of(object pcm, Py_buffer *view, str name) except -1:
    """View ``pcm`` as int16 samples in native order; plain octets are taken as such."""
    if _borrow(pcm, view, 0, name, SAMPLE_NAMES) != 2:
        _refuse(view, name, SAMPLE_NAMES)
    return _check_input(view, name, 2)


cdef int borrow_int16_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1:
    """View ``out`` as exactly ``n_samples`` writable int16 samples."""
    if _borrow(out, view, PyBUF_WRITABLE, "out", SAMPLE_NAMES) != 2:
        _refuse(view, "out", SAMPLE_NAMES)
    return _check_output(view, n_samples, 2)


cdef int borrow_octets_out(object out, Py_buffer *view, Py_ssize_t n_octets) except -1:
    """View ``out`` as exactly ``n_octets`` writable octets."""
    if try_buffer(out, view, PyBUF_WRITABLE) < 0:
        _explain(out, PyBUF_WRITABLE, None, "out")
    if view.len != n_octets:
        size = view.len
        PyBuffer_Release(view)
        raise ValueError(f"out has room for {size} octets, {n_octets} are needed")
    return 0


cdef int borrow_samples_of(object pcm, Py_buffer *view, str name) except -1:
    """View ``pcm`` as int16 or float32 samples; return their size in octets.  Plain octets are int16."""
    cdef int sample_size = _borrow(pcm, view, 0, name, EITHER_NAMES)
    if sample_size == 0:
        _refuse(view, name, EITHER_NAMES)
    _check_input(view, name, sample_size)
    return sample_size


cdef int borrow_samples_out(object out, Py_buffer *view, Py_ssize_t n_samples, int sample_size) except -1:
    """View ``out`` as exactly ``n_samples`` writable samples of the input's kind, or as their octets."""
    cdef str wanted = SAMPLE_NAMES if sample_size == 2 else "float32"
    cdef int found = _borrow(out, view, PyBUF_WRITABLE, "out", wanted)
    if found != sample_size and not (found == 2 and view.itemsize == 1):
        _refuse(view, "out", wanted)
    return _check_output(view, n_samples, sample_size)


cdef int borrow_either_out(object out, Py_buffer *view, Py_ssize_t n_samples) except -1:
    """View ``out`` as exactly ``n_samples`` writable samples; return their size.  Plain octets are int16."""
    cdef int sample_size = _borrow(out, view, PyBUF_WRITABLE, "out", EITHER_NAMES)
    if sample_size == 0:
        _refuse(view, "out", EITHER_NAMES)
    _check_output(view, n_samples, sample_size)
    return sample_size


cdef int borrow_samples_into(object out, Py_buffer *view, str name) except -1:
    if _borrow(out, view, PyBUF_WRITABLE, name, SAMPLE_NAMES) != 2:
        _refuse(view, name, SAMPLE_NAMES)
    if <uintptr_t>view.buf & 1:
        PyBuffer_Release(view)
        raise ValueError(f"{name} must begin at an even address")
    return 0


cdef int _borrow_integers(object numbers, Py_buffer *view, int flags, str name) except -1:
    cdef const char *code
    if try_buffer(numbers, view, flags | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0:
        _explain(numbers, flags, "int32 or int64", name)
    code = view.format
    if code[0] == b'<' or code[0] == b'=' or code[0] == b'@':
        code += 1
    if ((view.itemsize != 4 and view.itemsize != 8) or code[0] == 0 or code[1] != 0
            or (code[0] != b'i' and code[0] != b'l' and code[0] != b'q' and code[0] != b'n')
            or (view.len and <uintptr_t>view.buf & (view.itemsize - 1))):
        found = view.format.decode("ascii", "replace")
        PyBuffer_Release(view)
        raise TypeError(f"{name} must hold aligned int32 or int64, not items of format {found!r}")
    return 0


cdef int borrow_integers(object numbers, Py_buffer *view, str name) except -1:
    return _borrow_integers(numbers, view, 0, name)


cdef int borrow_integers_out(object numbers, Py_buffer *view, str name) except -1:
    return _borrow_integers(numbers, view, PyBUF_WRITABLE, name)


cdef int check_offsets(Py_buffer *offsets, Py_ssize_t n_octets) except -1:
    cdef Py_ssize_t i
    cdef int64_t last = 0, at
    for i in range(offsets.len // offsets.itemsize):
        at = integer_at(offsets, i)
        if not last <= at <= n_octets:
            raise ValueError(f"offsets[{i}] is {at}, not in [{last}, {n_octets}]")
        last = at
    return 0
