"""As much of XLA's side of the FFI as a handler for CUDA needs, in ctypes.

jaxlib for CPUs cannot run a program for CUDA. What it would call can be called all
the same: frames as xla/ffi/api/c_api.h says them, for each stage, with device memory of
the CUDA driver that CONVJIT_LIBCUDA names.
"""

import contextlib
import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int32
from ctypes import c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p, cast

import numpy as np

INSTANTIATE, INITIALIZE, EXECUTE = 0, 2, 3
COMMAND_BUFFER_COMPATIBLE = 1
#: XLA_FFI_DataType; NumPy has no name for bfloat16.
TYPES = {"int64": 5, "uint8": 6, "float16": 10, "float32": 11, "float64": 12, "bfloat16": 16}


def struct(name, *fields):
    """A struct of the API: its size and a chain of extensions, then `fields`."""
    head = [("struct_size", c_size_t), ("extension_start", c_void_p)]
    return type(name, (Structure,), {"_fields_": head + list(fields)})


class ByteSpan(Structure):
    _fields_ = [("ptr", c_char_p), ("len", c_size_t)]


class Scalar(Structure):
    _fields_ = [("dtype", c_int), ("value", c_void_p)]


Version = struct("Version", ("major", c_int), ("minor", c_int))
Buffer = struct("Buffer", ("dtype", c_int), ("data", c_void_p), ("rank", c_int64),
                ("dims", POINTER(c_int64)))
List = struct("List", ("size", c_int64), ("types", POINTER(c_int)),
              ("items", POINTER(c_void_p)))
Attrs = struct("Attrs", ("size", c_int64), ("types", POINTER(c_int)),
               ("names", POINTER(POINTER(ByteSpan))), ("attrs", POINTER(c_void_p)))
Frame = struct("Frame", ("api", c_void_p), ("ctx", c_void_p), ("stage", c_int),
               ("args", List), ("rets", List), ("attrs", Attrs), ("future", c_void_p))
ErrorCreate = struct("ErrorCreate", ("message", c_char_p), ("code", c_int))
ErrorArgs = struct("ErrorArgs", ("error", c_void_p), ("message", c_char_p))
StreamGet = struct("StreamGet", ("ctx", c_void_p), ("stream", c_void_p))
OrdinalGet = struct("OrdinalGet", ("ctx", c_void_p), ("ordinal", c_int32))
TypeInfo = struct("TypeInfo", ("deleter", CFUNCTYPE(None, c_void_p)))
TypeRegister = struct("TypeRegister", ("name", ByteSpan), ("id", POINTER(c_int64)),
                      ("info", POINTER(TypeInfo)))
State = struct("State", ("ctx", c_void_p), ("stage", c_int), ("id", POINTER(c_int64)),
               ("state", c_void_p))


class Metadata(Structure):
    _fields_ = [("struct_size", c_size_t), ("version", Version), ("traits", c_uint32),
                ("state_type_id", c_int64)]


class MetadataExtension(Structure):
    _fields_ = [("struct_size", c_size_t), ("type", c_int), ("next", c_void_p),
                ("metadata", POINTER(Metadata))]


FUNCTIONS = [
    "Error_Create", "Error_GetMessage", "Error_Destroy", "Handler_Register", "Stream_Get",
    "Type_Register", "ExecutionContext_Get", "State_Set", "State_Get",
    "DeviceMemory_Allocate", "DeviceMemory_Free", "ThreadPool_Schedule",
    "ThreadPool_NumThreads", "Future_Create", "Future_SetAvailable", "Future_SetError",
    "RunId_Get", "DeviceOrdinal_Get",
]
Api = struct("Api", ("version", Version), ("internal", c_void_p),
             *[(name, c_void_p) for name in FUNCTIONS])


class XlaError(Exception):
    """What a handler returned."""


class Xla:
    """Calls the stages of one handler, as for one custom call of an executable."""

    # A handler tells its types once in a process.
    types: dict = {}
    deleter = None

    def __init__(self, capsules, stream=None, ordinal=0):
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = c_void_p, [ctypes.py_object, c_char_p]
        prototype = CFUNCTYPE(c_void_p, POINTER(Frame))
        self.stages = {
            name: prototype(get(capsule, None)) for name, capsule in capsules.items()
        }
        self.stream, self.ordinal = stream, ordinal
        self.errors, self.state = {}, None
        self.kept = []
        self.api = Api(ctypes.sizeof(Api), None, Version(ctypes.sizeof(Version), None, 0, 3))
        for name, kind, result in [
            ("Error_Create", ErrorCreate, c_void_p),
            ("Error_GetMessage", ErrorArgs, None),
            ("Error_Destroy", ErrorArgs, None),
            ("Stream_Get", StreamGet, c_void_p),
            ("Type_Register", TypeRegister, c_void_p),
            ("State_Set", State, c_void_p),
            ("State_Get", State, c_void_p),
            ("DeviceOrdinal_Get", OrdinalGet, c_void_p),
        ]:
            method = getattr(self, "_" + name)
            function = CFUNCTYPE(result, POINTER(kind))(
                lambda args, method=method: method(args.contents)
            )
            self.kept.append(function)
            setattr(self.api, name, cast(function, c_void_p))

    # What a handler asks of XLA; None is success.
    def _Error_Create(self, args):
        self.errors[len(self.errors) + 1] = args.message
        return len(self.errors)

    def _Error_GetMessage(self, args):
        args.message = self.errors[args.error]

    def _Error_Destroy(self, args):
        pass

    def _Stream_Get(self, args):
        args.stream = self.stream

    def _Type_Register(self, args):
        name = args.name.ptr[: args.name.len].decode()
        args.id[0] = self.types.setdefault(name, len(self.types) + 100)
        Xla.deleter = staticmethod(args.info.contents.deleter)

    def _State_Set(self, args):
        assert args.stage == INSTANTIATE and args.id[0] in self.types.values()
        self.state = args.state

    def _State_Get(self, args):
        assert args.stage == INSTANTIATE and args.id[0] in self.types.values()
        args.state = self.state

    def _DeviceOrdinal_Get(self, args):
        args.ordinal = self.ordinal

    def _frame(self, stage, arguments, results, attributes):
        keep = []

        def buffers(items):
            made = []
            for dtype, shape, address in items:
                dims = (c_int64 * max(len(shape), 1))(*shape)
                made.append(Buffer(ctypes.sizeof(Buffer), None, TYPES[dtype], address or None,
                                   len(shape), dims))
                keep.append(dims)
            keep.append(made)
            types = (c_int * max(len(made), 1))(*[1] * len(made))
            pointers = (c_void_p * max(len(made), 1))(*[ctypes.addressof(b) for b in made])
            keep.extend([types, pointers])
            return List(ctypes.sizeof(List), None, len(made), types, pointers)

        def span(text):
            text = text.encode()
            keep.append(text)
            keep.append(ByteSpan(text, len(text)))
            return keep[-1]

        def scalar(number):
            keep.append(c_int64(number))
            keep.append(Scalar(TYPES["int64"], ctypes.addressof(keep[-1])))
            return keep[-1]

        sorted_attributes = sorted(attributes.items())
        names = [span(name) for name, _ in sorted_attributes]
        values = [span(value) if isinstance(value, str) else scalar(value)
                  for _, value in sorted_attributes]
        count = max(len(names), 1)
        types = (c_int * count)(*[4 if isinstance(value, ByteSpan) else 3
                                  for value in values])  # strings and scalars
        name_pointers = (POINTER(ByteSpan) * count)(*[ctypes.pointer(n) for n in names])
        value_pointers = (c_void_p * count)(*[ctypes.addressof(v) for v in values])
        keep.extend([types, name_pointers, value_pointers])
        frame = Frame(
            Frame.future.offset, None,  # its size, by the header, ends before that
            ctypes.addressof(self.api), None, stage,
            buffers(arguments), buffers(results),
            Attrs(ctypes.sizeof(Attrs), None, len(names), types, name_pointers,
                  value_pointers),
            None,
        )
        return frame, keep

    def _call(self, stage, frame):
        error = self.stages[stage](byref(frame))
        if error:
            raise XlaError(self.errors[error].decode())

    def metadata(self, stage):
        """(traits, id of the state's type), as XLA asks for them."""
        frame, _ = self._frame(EXECUTE, [], [], {})
        told = Metadata(ctypes.sizeof(Metadata))
        extension = MetadataExtension(ctypes.sizeof(MetadataExtension), 1, None,
                                      ctypes.pointer(told))
        frame.extension_start = ctypes.addressof(extension)
        self._call(stage, frame)
        return told.traits, told.state_type_id

    def instantiate(self, attributes):
        frame, _ = self._frame(INSTANTIATE, [], [], attributes)
        self._call("instantiate", frame)

    def initialize(self, arguments, results, attributes):
        frame, _ = self._frame(INITIALIZE, arguments, results, attributes)
        self._call("initialize", frame)

    def execute(self, arguments, results, attributes):
        frame, _ = self._frame(EXECUTE, arguments, results, attributes)
        self._call("execute", frame)

    def destroy(self):
        self.deleter(self.state)


class Controls(Structure):
    """fake::Controls of test/cuda/FakeDriver.h."""

    _fields_ = [
        ("reset", CFUNCTYPE(None, c_char_p)),
        ("calls", CFUNCTYPE(c_int, c_char_p)),
        ("set_kernel", c_void_p),
        ("capture", CFUNCTYPE(None, ctypes.c_bool)),
        ("replay", CFUNCTYPE(None)),
        ("live_contexts", CFUNCTYPE(c_int)),
        ("live_modules", CFUNCTYPE(c_int)),
        ("live_allocations", CFUNCTYPE(c_int)),
    ]


class Driver:
    """The CUDA driver as XLA uses it: its primary context, a stream, memory."""

    def __init__(self, ordinal=0):
        self.library = ctypes.CDLL(os.environ["CONVJIT_LIBCUDA"])
        self.library.convjit_fake_cuda.restype = POINTER(Controls)
        self.controls = self.library.convjit_fake_cuda().contents
        self.ordinal = ordinal
        self.context, self.stream = c_void_p(), c_void_p()
        self.call("cuInit", c_uint(0))
        self.call("cuDevicePrimaryCtxRetain", byref(self.context), c_int(ordinal))
        with self.current():
            self.call("cuStreamCreate", byref(self.stream), c_uint(1))

    @contextlib.contextmanager
    def current(self):
        self.call("cuCtxPushCurrent_v2", self.context)
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def call(self, name, *arguments):
        result = getattr(self.library, name)(*arguments)
        if result:
            raise RuntimeError(f"{name}: {result}")

    def allocate(self, size):
        address = c_uint64()
        if size:
            self.call("cuMemAlloc_v2", byref(address), c_size_t(size))
        return address.value

    def upload(self, array):
        array = np.ascontiguousarray(array)
        address = self.allocate(array.nbytes)
        self.call("cuMemcpyHtoDAsync_v2", c_uint64(address), c_void_p(array.ctypes.data),
                  c_size_t(array.nbytes), self.stream)
        self.call("cuStreamSynchronize", self.stream)
        return address

    def download(self, address, like):
        array = np.empty_like(like)
        self.call("cuMemcpyDtoHAsync_v2", c_void_p(array.ctypes.data), c_uint64(address),
                  c_size_t(array.nbytes), self.stream)
        self.call("cuStreamSynchronize", self.stream)
        return array

    @contextlib.contextmanager
    def capturing(self):
        self.controls.capture(True)
        try:
            yield
        finally:
            self.controls.capture(False)
