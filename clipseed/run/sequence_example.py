"""The protobuf messages of a SequenceExample, built without TensorFlow.

They encode to the same bytes as `tf.train.SequenceExample` (field numbers and types of
TensorFlow's `example.proto` and `feature.proto`). They live under another package name
in a descriptor pool of their own, so that they never clash with TensorFlow's when a
process loads both.
"""

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "clipseed.run"


@functools.cache
def sequence_example_class() -> Any:
    """Return the message class; its fields are `context` and `feature_lists`."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_schema())
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.SequenceExample")
    return message_factory.GetMessageClass(descriptor)


def _schema() -> descriptor_pb2.FileDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="clipseed/run/sequence_example.proto", package=_PACKAGE, syntax="proto3"
    )
    kinds = {
        "bytes_list": ("BytesList", field.TYPE_BYTES),
        "float_list": ("FloatList", field.TYPE_FLOAT),
        "int64_list": ("Int64List", field.TYPE_INT64),
    }
    for name, kind in kinds.values():
        file.message_type.add(name=name).field.add(
            name="value", number=1, type=kind, label=field.LABEL_REPEATED
        )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (message, _)) in enumerate(kinds.items(), start=1):
        _add_message(feature, name, number, message).oneof_index = 0
    _add_map(file.message_type.add(name="Features"), "feature", "Feature")
    _add_message(
        file.message_type.add(name="FeatureList"), "feature", 1, "Feature"
    ).label = field.LABEL_REPEATED
    _add_map(file.message_type.add(name="FeatureLists"), "feature_list", "FeatureList")
    example = file.message_type.add(name="SequenceExample")
    _add_message(example, "context", 1, "Features")
    _add_message(example, "feature_lists", 2, "FeatureLists")
    return file


def _add_message(
    owner: descriptor_pb2.DescriptorProto, name: str, number: int, message: str
) -> descriptor_pb2.FieldDescriptorProto:
    return owner.field.add(
        name=name,
        number=number,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.{message}",
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )


def _add_map(owner: descriptor_pb2.DescriptorProto, name: str, value: str) -> None:
    """Add `map<string, value> name = 1`, which is a repeated message of its own."""
    field = descriptor_pb2.FieldDescriptorProto
    # protoc's rule for the name of a map's entries: the field's name in camel case.
    entry_name = "".join(map(str.capitalize, name.split("_"))) + "Entry"
    entry = owner.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    entry.field.add(
        name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    )
    _add_message(entry, "value", 2, value)
    _add_message(
        owner, name, 1, f"{owner.name}.{entry_name}"
    ).label = field.LABEL_REPEATED
