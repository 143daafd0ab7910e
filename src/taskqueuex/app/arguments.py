"""The arguments of a task: checked against its signature where it is enqueued, typed again where it runs.

A payload is a JSON object of the parameters by name, without those that keep their default; a program in
another language writes it as easily. The parameters become one msgspec struct, so that binding, encoding
and decoding are each one call into C. What is enqueued is decoded once before it is sent: an argument
that the worker could not read is refused where it was passed.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from taskqueuex.app.control import ArgumentError, TaskDefinitionError
from taskqueuex.app.resources import injected as INJECTED

__all__ = ["Arguments", "JsonTypes"]

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
Bound = msgspec.Struct


class JsonTypes:
    """How values of other types than msgspec's become JSON, and come back.

    `to_json` and `from_json` are msgspec's enc_hook and dec_hook. Models of pydantic are known.
    """

    def __init__(
        self,
        to_json: Callable[[Any], Any] | None = None,
        from_json: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self._to_json = to_json
        self._from_json = from_json
        self.encode = msgspec.json.Encoder(enc_hook=self._encode_other).encode

    def decoder(self, annotation: Any) -> Callable[[bytes | msgspec.Raw], Any]:
        """What decodes JSON to a type; raises TypeError where a type cannot be told from JSON."""
        return msgspec.json.Decoder(annotation, dec_hook=self._decode_other).decode

    def _encode_other(self, value: Any) -> Any:
        dump = getattr(value, "model_dump", None)
        if dump is not None:
            return dump(mode="json")
        if self._to_json is not None:
            return self._to_json(value)
        raise NotImplementedError(f"values of type {type(value).__name__} cannot be sent as JSON")

    def _decode_other(self, annotation: Any, value: Any) -> Any:
        if annotation is object:
            return value
        validate = getattr(annotation, "model_validate", None)
        if validate is not None:
            return validate(value)
        if self._from_json is not None:
            return self._from_json(annotation, value)
        raise NotImplementedError(f"type {annotation!r} cannot be read from JSON")


class Arguments:
    """The parameters of one function.

    `injected` says, for a type, whether the worker passes parameters of it (its context, a resource):
    those are no part of the payload, and stand in `by_worker`.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        types: JsonTypes,
        injected: Callable[[Any], bool],
    ) -> None:
        self._name = name
        self._types = types
        self._signature = inspect.signature(function)
        self.by_worker: dict[str, Any] = {}
        self._by_position: list[str] = []  # positional-only ones, which cannot be passed by name
        self._rest = self._named_rest = ""  # the names of *args and **kwargs
        hints = _hints(name, function)
        self.returns: Any = hints.get("return", Any)
        fields: list[tuple[str, Any, Any]] = []
        for parameter in self._signature.parameters.values():
            annotation = hints.get(parameter.name, Any)
            if injected(annotation):
                self.by_worker[parameter.name] = annotation
            elif parameter.default is INJECTED:
                raise TaskDefinitionError(f"{name}: {parameter.name}: no resource provides {annotation!r}")
            else:
                fields.append(self._field(parameter, annotation))
        self._build(fields)

    def _field(self, parameter: inspect.Parameter, annotation: Any) -> tuple[str, Any, Any]:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            self._rest = parameter.name
            return parameter.name, list[annotation], UNSET
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self._named_rest = parameter.name
            return parameter.name, dict[str, annotation], UNSET
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            self._by_position.append(parameter.name)
        return parameter.name, annotation, _EMPTY if parameter.default is _EMPTY else UNSET

    def _build(self, fields: list[tuple[str, Any, Any]]) -> None:
        self._refuse_mixed()
        self.names = [name for name, _, _ in fields]
        self.required = [name for name, _, default in fields if default is _EMPTY]
        # All may be absent while they are bound (a workflow fills some in); what is decoded is strict.
        bound = [(name, Any, UNSET) for name in self.names]
        strict: list[Any] = []
        partial: list[Any] = []
        for name, annotation, default in fields:
            optional = (name, annotation | UnsetType if _can_join(annotation) else Any, UNSET)
            partial.append(optional)
            strict.append((name, annotation) if default is _EMPTY else optional)
        try:
            self._struct = msgspec.defstruct("Arguments", bound, gc=False)
            self._decode = self._types.decoder(_struct(strict))
            self._decode_partial = self._types.decoder(_struct(partial))
            self.decode_result = self._types.decoder(self.returns)
        except TypeError as error:
            raise TaskDefinitionError(f"{self._name}: {error}") from error
        plain = not self._rest and not self._named_rest and self._in_order()
        self._construct = self._struct if plain else self._bind

    def _refuse_mixed(self) -> None:
        """Where arguments are passed by position, the worker's own must not stand among them."""
        if self._rest or self._by_position:
            for name in self.by_worker:
                if self._signature.parameters[name].kind in _POSITIONAL:
                    raise TaskDefinitionError(
                        f"{self._name}: {name}: must be keyword-only, beside *args or positional-only ones"
                    )

    def _in_order(self) -> bool:
        kinds = self._signature.parameters
        return all(kinds[name].kind in _POSITIONAL for name in self.names) and not self._by_position

    def _bind(self, *args: Any, **kwargs: Any) -> Bound:
        signature = self._signature.replace(
            parameters=[self._signature.parameters[name] for name in self.names], return_annotation=_EMPTY
        )
        values = signature.bind_partial(*args, **kwargs).arguments
        if self._rest in values:
            values[self._rest] = list(values[self._rest])
        return self._struct(**values)

    # Where it is enqueued

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
        """The arguments as a struct. Raises ArgumentError for one too many or an unknown name."""
        try:
            return self._construct(*args, **kwargs)
        except TypeError:
            self._refuse_call(args, kwargs)

    def missing(self, bound: Bound) -> list[str]:
        """The required parameters that have no value yet, in order."""
        return [name for name in self.required if getattr(bound, name) is UNSET]

    def encode(self, bound: Bound, *, partial: bool = False) -> bytes:
        """The payload. Raises ArgumentError, which names the parameter.

        `partial`: parameters may be missing, because a workflow fills them in.
        """
        try:
            payload: bytes = self._types.encode(bound)
            (self._decode_partial if partial else self._decode)(payload)
        except (msgspec.MsgspecError, TypeError, ValueError, NotImplementedError, OverflowError) as error:
            self._refuse_values(bound, error, partial)
        return payload

    def _refuse_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NoReturn:
        known = [name for name in self.names if name not in (self._rest, self._named_rest)]
        for name in kwargs:
            if name in self.by_worker:
                raise ArgumentError(f"{self._name}: {name}: is passed by the worker") from None
            if name not in known:
                raise ArgumentError(f"{self._name}: {name}: there is no such parameter") from None
        for name in known[: len(args)]:
            if name in kwargs:
                raise ArgumentError(f"{self._name}: {name}: given twice") from None
        raise ArgumentError(
            f"{self._name}: takes {len(known)} arguments by position at most, not {len(args)}"
        ) from None

    def _refuse_values(self, bound: Bound, error: Exception, partial: bool) -> NoReturn:
        if not partial:
            for name in self.missing(bound):
                raise ArgumentError(f"{self._name}: {name}: is missing") from None
        for name in self.names:
            value = getattr(bound, name)
            try:
                if value is not UNSET:
                    self._decode_partial(self._types.encode(self._struct(**{name: value})))
            except Exception as wrong:
                raise ArgumentError(f"{self._name}: {name}: {_without_path(wrong, name)}") from error
        raise ArgumentError(f"{self._name}: {error}") from error

    # Where it runs

    def decode(self, payload: bytes | msgspec.Raw) -> tuple[list[Any], dict[str, Any]]:
        """What to call the function with. Raises ArgumentError."""
        try:
            bound = self._decode(payload)
        except (msgspec.MsgspecError, TypeError, ValueError, NotImplementedError) as error:
            raise ArgumentError(f"{self._name}: the payload does not fit: {error}") from error
        kwargs = {name: value for name in self.names if (value := getattr(bound, name)) is not UNSET}
        args = []
        if self._by_position or self._rest in kwargs:
            args = self._positional(kwargs)
        if self._named_rest in kwargs:
            kwargs.update(kwargs.pop(self._named_rest))
        return args, kwargs

    def _positional(self, kwargs: dict[str, Any]) -> list[Any]:
        rest: list[Any] = kwargs.pop(self._rest, [])
        args: list[Any] = []
        for name, parameter in self._signature.parameters.items():
            if parameter.kind not in _POSITIONAL or not (rest or name in self._by_position):
                break
            if name not in kwargs:
                break  # a default ends what can be passed by position
            args.append(kwargs.pop(name))
        return args + rest


def _struct(fields: list[Any]) -> Any:
    return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def _can_join(annotation: Any) -> bool:
    return annotation is not Any and not isinstance(annotation, str)


def _without_path(error: Exception, name: str) -> str:
    return str(error).removesuffix(f" - at `$.{name}`")


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except NameError as error:
        raise TaskDefinitionError(f"{name}: an annotation cannot be resolved: {error}") from error
