"""The wrapped accelerator in IP-XACT (IEEE 1685-2009), with what Vivado's IP catalogue reads: `component.xml`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .. import __version__
from ..rtl.mapping import Mapping
from ..rtl.registers import WORD_BITS, Register, registers
from ..rtl.wrapper import CLOCK_PORT, MODULE, PARAMETER, REGISTERS, RESET_PORT, Interface, interfaces, wrapper_ports

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
XILINX = "http://www.xilinx.com"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
RANGE = 4096  # bytes of the registers' address space: the least that AXI allows
VERSION, REVISION = __version__.rpartition(".")[::2]
# A view of the files, its environment in Vivado, and its name there.
VIEWS = (
    ("xilinx_anylanguagesynthesis", "synthesis", "Synthesis"),
    ("xilinx_anylanguagebehavioralsimulation", "simulation", "Simulation"),
    ("xilinx_xpgui", "xgui.ui", "UI Layout"),
)
GUI = VIEWS[2][0]
FAMILIES = (
    *("zynq", "artix7", "kintex7", "virtex7", "spartan7", "zynquplus"),
    *("kintexu", "kintexuplus", "virtexu", "virtexuplus", "artixuplus", "versal"),
)
ACCESS = {"ro": "read-only", "wo": "write-only", "w1c": "read-write"}
MEANING = "0: s_axis_tkeep is ignored"
Parts = Iterable["ElementTree.Element | None"]


def xgui(version: str = VERSION) -> str:
    """Name of the file that describes the dialogue of the component's parameters."""
    return f"xgui/{MODULE}_v{version.replace('.', '_')}.tcl"


def component(mapping: Mapping, vendor: str, library: str, sources: Iterable[str]) -> str:
    """Text of `component.xml` for the wrapper around the accelerator of `mapping`; `sources` are its files."""
    for prefix, space in (("spirit", SPIRIT), ("xilinx", XILINX), ("xsi", XSI)):
        ElementTree.register_namespace(prefix, space)
    files = list(sources)
    digest = mapping.network.digest[:16]
    root = _node(
        "component",
        [
            _text("vendor", vendor),
            _text("library", library),
            _text("name", MODULE),
            _text("version", VERSION),
            _node("busInterfaces", [_interface(one) for one in interfaces(mapping)]),
            _node("memoryMaps", [_memory_map(mapping)]),
            _node(
                "model",
                [
                    _node("views", [_view(*view) for view in VIEWS]),
                    _node("ports", _ports(mapping)),
                    _node("modelParameters", [_parameter("modelParameter")]),
                ],
            ),
            _node("fileSets", [_files(view, [xgui()] if view == GUI else files) for view, _, _ in VIEWS]),
            _text("description", f"Sparse spiking network {digest}: frames and results on AXI4-Stream, registers"),
            _node("parameters", [_parameter("parameter"), _name_parameter()]),
            _node("vendorExtensions", [_extensions(digest)]),
        ],
    )
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _node(tag: str, parts: Parts = (), text: str | None = None, space: str = SPIRIT, **given: Any) -> Any:
    made = ElementTree.Element(f"{{{space}}}{tag}", {f"{{{space}}}{name}": str(value) for name, value in given.items()})
    made.text = text
    made.extend([part for part in parts if part is not None])
    return made


def _text(tag: str, text: object, **given: Any) -> Any:
    return _node(tag, (), str(text), **given)


def _interface(one: Interface) -> Any:
    library, kind = one.kind.split(":")
    catalogue: dict[str, Any] = {"vendor": "xilinx.com", "library": library}
    registers = [_node("memoryMapRef", memoryMapRef=REGISTERS)] if one.name == REGISTERS else []
    maps = [
        _node(
            "portMap",
            [
                _node("logicalPort", [_text("name", signal)]),
                _node("physicalPort", [_text("name", port)]),
            ],
        )
        for signal, port in one.ports.items()
    ]
    place = f"BUSIFPARAM_VALUE.{one.name.upper()}"
    told = [
        _node("parameter", [_text("name", name), _text("value", value, id=f"{place}.{name}")])
        for name, value in one.parameters.items()
    ]
    return _node(
        "busInterface",
        [
            _text("name", one.name),
            _node("busType", **catalogue, name=kind, version="1.0"),
            _node("abstractionType", **catalogue, name=f"{kind}_rtl", version="1.0"),
            _node(one.mode, registers),
            _node("portMaps", maps),
            _node("parameters", told),
        ],
    )


def _memory_map(mapping: Mapping) -> Any:
    block = [
        _text("name", "registers"),
        _text("baseAddress", 0),
        _text("range", RANGE),
        _text("width", WORD_BITS),
        _text("usage", "register"),
        *(_register(one) for one in registers(len(mapping.layers))),
    ]
    return _node("memoryMap", [_text("name", REGISTERS), _node("addressBlock", block)])


def _register(one: Register) -> Any:
    clears = _text("modifiedWriteValue", "oneToClear") if one.access == "w1c" else None
    field = [
        _text("name", one.name),
        _text("bitOffset", 0),
        _text("bitWidth", WORD_BITS),
        _text("access", ACCESS[one.access]),
        clears,
    ]
    return _node(
        "register",
        [
            _text("name", one.name),
            _text("description", one.meaning),
            _text("addressOffset", one.address),
            _text("size", WORD_BITS),
            _text("access", ACCESS[one.access]),
            _node("field", field),
        ],
    )


def _view(name: str, environment: str, shown: str) -> Any:
    design = [_text("language", "Verilog"), _text("modelName", MODULE)] if name != GUI else []
    return _node(
        "view",
        [
            _text("name", name),
            _text("displayName", shown),
            _text("envIdentifier", f":vivado.xilinx.com:{environment}"),
            *design,
            _node("fileSetRef", [_text("localName", f"{name}_view_fileset")]),
        ],
    )


def _ports(mapping: Mapping) -> list[Any]:
    """All ports. An unconnected TKEEP is all ones: all bytes count."""
    found: list[tuple[str, str, int, int | None]] = [(CLOCK_PORT, "in", 1, None), (RESET_PORT, "in", 1, None)]
    for port in wrapper_ports(mapping):
        open_value = (1 << port.width) - 1 if port.signal == "TKEEP" else 0
        found.append((port.name, port.direction, port.width, open_value if port.direction == "in" else None))
    return [_port(*one) for one in found]


def _port(name: str, direction: str, width: int, open_value: int | None) -> Any:
    vector = _node("vector", [_text("left", width - 1), _text("right", 0)]) if width > 1 else None
    views = [_text("viewNameRef", view) for view, _, _ in VIEWS if view != GUI]
    wire = _node("wireTypeDef", [_text("typeName", "wire"), *views])
    driver = None if open_value is None else _node("driver", [_text("defaultValue", open_value, format="long")])
    wires = [_text("direction", direction), vector, _node("wireTypeDefs", [wire]), driver]
    return _node("port", [_text("name", name), _node("wire", wires)])


def _parameter(tag: str) -> Any:
    """`USE_TKEEP`, as what the user sets (`parameter`), and as the module's parameter, which follows it."""
    model = tag == "modelParameter"
    limits = {"minimum": 0, "maximum": 1, "rangeType": "long"}
    identity = f"{'MODELPARAM' if model else 'PARAM'}_VALUE.{PARAMETER}"
    value = _text("value", 1, format="long", resolve="generated" if model else "user", id=identity, **limits)
    made = _node(tag, [_text("name", PARAMETER), _text("description", MEANING), value])
    if model:
        made.set(f"{{{XSI}}}type", "spirit:nameValueTypeType")
        made.set(f"{{{SPIRIT}}}dataType", "integer")
    return made


def _name_parameter() -> Any:
    identity = "PARAM_VALUE.Component_Name"
    value = _text("value", f"{MODULE}_v{VERSION.replace('.', '_')}", resolve="user", id=identity, order=1)
    return _node("parameter", [_text("name", "Component_Name"), value])


def _files(view: str, names: Iterable[str]) -> Any:
    return _node("fileSet", [_text("name", f"{view}_view_fileset"), *(_file(name) for name in names)])


def _file(name: str) -> Any:
    kinds = {
        ".v": [_text("fileType", "verilogSource")],
        ".tcl": [_text("fileType", "tclSource"), _text("userFileType", "XGUI_VERSION_2")],
        ".hex": [_text("userFileType", "mem")],
    }
    return _node("file", [_text("name", name), *kinds[Path(name).suffix]])


def _extensions(digest: str) -> Any:
    families = [_node("family", (), family, XILINX, lifeCycle="Production") for family in FAMILIES]
    parts = [
        _node("supportedFamilies", families, space=XILINX),
        _node("taxonomies", [_node("taxonomy", (), "/UserIP", XILINX)], space=XILINX),
        _node("displayName", (), f"GradRTL {digest}", XILINX),
        _node("coreRevision", (), str(int(REVISION) + 1), XILINX),
    ]
    return _node("coreExtensions", parts, space=XILINX)
