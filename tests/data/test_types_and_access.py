"""Types of columns, columns of tensors and objects in DataFrames and Arrow, and what is done with one block."""

from __future__ import annotations

import operator
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shoal.data
from shoal.data import ActorPoolStrategy, BlockMetadata
from shoal.data.access import BatchFormat, BlockAccessor, BlockColumnAccessor, BlockType
from shoal.data.block_stats import BlockExecStats, BlockMetadataWithSchema, to_stats
from shoal.data.datatype import DataType, TypeCategory
from shoal.data.extensions import (
    ArrowConversionError,
    ArrowPythonObjectArray,
    ArrowTensorArray,
    ArrowTensorType,
    ArrowVariableShapedTensorArray,
    FixedShapeTensorFormat,
    PythonObjectArray,
    TensorArray,
    TensorArrayElement,
    TensorDtype,
    column_needs_tensor_extension,
    create_arrow_fixed_shape_tensor_type,
    get_arrow_extension_tensor_types,
)

pytestmark = pytest.mark.usefixtures("inline")


@pytest.mark.parametrize(
    ("given", "arrow"),
    [
        ("int32", pa.int32()),
        (np.float32, pa.float32()),
        (np.dtype("U3"), pa.string()),
        (str, pa.string()),
        (bool, pa.bool_()),
        (pd.ArrowDtype(pa.date32()), pa.date32()),
        (pd.Int16Dtype(), pa.int16()),
        (DataType.list(DataType.int8()), pa.list_(pa.int8())),
        (DataType.struct([("x", DataType.bool())]), pa.struct([("x", pa.bool_())])),
        (DataType.map(DataType.string(), DataType.uint8()), pa.map_(pa.string(), pa.uint8())),
        (DataType.temporal("timestamp", "ms", "UTC"), pa.timestamp("ms", tz="UTC")),
        (DataType.fixed_size_list(DataType.float64(), 3), pa.list_(pa.float64(), 3)),
        (DataType.tensor((2, 3), DataType.uint16()), pa.fixed_shape_tensor(pa.uint16(), (2, 3))),
    ],
    ids=str,
)
def test_types_of_every_library_are_arrows(given: Any, arrow: Any) -> None:
    assert DataType.from_dtype(given).to_arrow_dtype() == arrow


def test_types_are_inferred_asked_and_turned() -> None:
    assert DataType.infer_dtype(3).is_integer_type()
    assert DataType.infer_dtype([1.5]).is_list_type()
    assert DataType.infer_dtype(np.zeros((2, 2))).is_of(TypeCategory.TENSOR)
    assert DataType.infer_dtype(object()).is_python_type()
    assert DataType.from_dtype("timestamp[ms]").is_of("temporal")
    assert DataType.from_numpy("datetime64[s]").is_temporal_type()
    assert DataType.variable_shaped_tensor(DataType.int64()).is_tensor_type()
    assert not DataType.variable_shaped_tensor(DataType.int64()).is_struct_type()
    assert not DataType(set).is_string_type()
    assert DataType.int16().to_numpy_dtype() == np.int16
    assert DataType.list(DataType.int8()).to_python_type() is list
    assert DataType(None).to_arrow_dtype([1, 2]) == pa.int64()
    for wrong, error in (
        (lambda: DataType(3), "a class of Python"),
        (DataType(set).to_arrow_dtype, "no type for set"),
    ):
        with pytest.raises(TypeError, match=error):
            wrong()
    with pytest.raises(ValueError, match="temporal_type must be one of"):
        DataType.temporal("week")


def test_tensors_in_a_frame_are_a_column() -> None:
    array = np.arange(12).reshape(3, 2, 2)
    frame = pd.DataFrame({"id": [1, 2, 3], "t": TensorArray(array)})
    assert frame.dtypes["t"] == TensorDtype((2, 2), np.int64)
    assert TensorDtype.construct_from_string(frame.dtypes["t"].name) == frame.dtypes["t"]
    assert isinstance(frame["t"].iloc[1], TensorArrayElement)
    np.testing.assert_array_equal(frame["t"].iloc[1], array[1])
    np.testing.assert_array_equal(frame[frame.id > 1]["t"].array.to_numpy(), array[1:])
    np.testing.assert_array_equal(
        pd.concat([frame, frame])["t"].array.to_numpy(), np.concatenate([array, array])
    )
    np.testing.assert_array_equal((frame["t"] * 2).array.to_numpy(), array * 2)
    np.testing.assert_array_equal(frame["t"].sum().to_numpy(), array.sum(axis=0))
    assert array[2] in frame["t"].array
    with pytest.raises(TypeError, match="no name"):
        TensorDtype.construct_from_string("int64")


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "lt", "ge"])
@pytest.mark.parametrize(
    "values", [np.arange(1, 7).reshape(3, 2), np.arange(1.0, 4.0)], ids=["column", "element"]
)
def test_operators_are_numpys(name: str, values: Any) -> None:
    function = getattr(operator, name)
    made = TensorArray(values) if values.ndim == 2 else TensorArrayElement(values)
    np.testing.assert_array_equal(function(made, 2).to_numpy(), function(values, 2))
    np.testing.assert_array_equal(function(made, made).to_numpy(), function(values, values))
    if name not in ("eq", "lt", "ge"):
        np.testing.assert_array_equal(function(2, made).to_numpy(), function(2, values))
    assert (made.numpy_shape, made.numpy_ndim, made.numpy_size) == (values.shape, values.ndim, values.size)


def test_bits_of_tensors() -> None:
    bits = TensorArray(np.array([[1, 2], [3, 4]]))
    np.testing.assert_array_equal((bits & 1).to_numpy(), [[1, 0], [1, 0]])
    np.testing.assert_array_equal((1 | bits).to_numpy(), [[1, 3], [3, 5]])
    np.testing.assert_array_equal((bits ^ bits).to_numpy(), np.zeros((2, 2)))
    np.testing.assert_array_equal((bits > 1).all(axis=1).to_numpy(), [False, True])
    assert (bits > 0).all()
    assert not (bits > 9).any()


def test_tensors_of_different_shapes_and_missing_ones() -> None:
    parts = [np.ones((2, 3)), np.zeros((1, 1))]
    column = TensorArray(parts)
    assert column.is_variable_shaped
    assert column.dtype == TensorDtype((None, None), np.float64)
    taken = column.take([1, -1], allow_fill=True)
    assert taken.isna().tolist() == [False, True]
    assert taken[1] is None
    arrow = pa.array(column)
    assert arrow.type.ndim == 2
    np.testing.assert_array_equal(arrow.to_numpy()[0], parts[0])
    wider = arrow.to_var_shaped_tensor_array(3)
    assert wider.to_numpy()[0].shape == (1, 2, 3)
    with pytest.raises(ValueError, match="dimensions"):
        ArrowVariableShapedTensorArray.from_numpy([np.zeros(2), np.zeros((2, 2))])


def test_tensors_in_arrow_survive_files_and_frames() -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 2, 2)
    table = pa.table({"t": ArrowTensorArray.from_numpy(array)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    back = pa.ipc.open_stream(sink.getvalue()).read_all()
    np.testing.assert_array_equal(back["t"].chunk(0).to_numpy(zero_copy_only=False), array)
    assert pickle.loads(pickle.dumps(back.schema)) == table.schema
    np.testing.assert_array_equal(back.to_pandas()["t"].array.to_numpy(), array)
    assert isinstance(table["t"].type, get_arrow_extension_tensor_types())
    assert FixedShapeTensorFormat.V1.to_type() is ArrowTensorType
    assert create_arrow_fixed_shape_tensor_type((2, 2), np.int16) == pa.fixed_shape_tensor(pa.int16(), (2, 2))
    with pytest.raises(ArrowConversionError, match="column 't'"):
        ArrowTensorArray.from_numpy(np.array([object()]), "t")


def test_datasets_take_columns_of_tensors() -> None:
    array = np.arange(12).reshape(3, 2, 2)
    ds = shoal.data.from_pandas(pd.DataFrame({"t": TensorArray(array)}))
    np.testing.assert_array_equal(ds.take_batch(3)["t"], array)
    arrow = shoal.data.from_arrow(pa.table({"t": ArrowTensorArray.from_numpy(array)}))
    np.testing.assert_array_equal(arrow.take_batch(3)["t"], array)
    assert column_needs_tensor_extension(pd.Series([np.zeros(3), np.ones(3)]))


def test_python_objects_are_a_column() -> None:
    objects = [{1, 2}, [3], None]
    frame = pd.DataFrame({"o": PythonObjectArray(objects)})
    arrow = pa.array(frame["o"].array)
    assert arrow[0].as_py() == {1, 2}
    assert arrow.to_numpy().tolist() == objects
    assert ArrowPythonObjectArray.from_objects(objects)[2].as_py() is None
    assert frame["o"].isna().tolist() == [False, False, True]
    assert frame.dtypes["o"] == "python_object()"
    frame.loc[2, "o"] = 5
    assert list(frame["o"].array.take([2, -1], allow_fill=True)) == [5, None]
    assert list(pd.concat([frame, frame])["o"])[3] == {1, 2}


TABLE = pa.table({"x": [3, 1, None, 2], "name": ["c", "a", "d", "b"]})


def test_a_block_is_cut_sorted_and_counted() -> None:
    block = BlockAccessor.for_block(TABLE)
    assert (block.num_rows(), block.block_type(), block.size_bytes()) == (4, BlockType.ARROW, TABLE.nbytes)
    assert block.sort("x")["x"].to_pylist() == [1, 2, 3, None]
    assert block.sort(("x", "descending"))["x"].to_pylist() == [3, 2, 1, None]
    parts = block.sort_and_partition([(2,), (3,)], "x")
    assert [part["x"].to_pylist() for part in parts] == [[1], [2], [3, None]]
    merged, metadata = BlockAccessor.merge_sorted_blocks([TABLE.slice(0, 1), TABLE.slice(1, 1)], "x")
    assert (merged["x"].to_pylist(), metadata.num_rows) == ([1, 3], 2)
    assert block.take([2, 0])["name"].to_pylist() == ["d", "c"]
    assert block.slice(1, 3, copy=True)["name"].to_pylist() == ["a", "d"]
    assert sorted(block.random_shuffle(1)["name"].to_pylist()) == list("abcd")
    assert block.sample(2, "name").column_names == ["name"]
    assert block.select(["x"]).column_names == block.drop(["name"]).column_names == ["x"]
    assert block.rename_columns({"x": "y"}).column_names == ["y", "name"]
    assert block.upsert_column("x", [0] * 4)["x"].to_pylist() == [0] * 4
    assert block.zip(TABLE).column_names == ["x", "name", "x_1", "name_1"]
    assert (block.sum("x"), block.min("x"), block.max("x"), block.mean("x")) == (6, 1, 3, 2.0)
    assert (block.count("x", ignore_nulls=True), block.sum_of_squared_diffs_from_mean("x")) == (3, 2.0)
    assert block.sum("x", ignore_nulls=False) is None
    assert next(iter(block.iter_rows())) == {"x": 3, "name": "c"}
    assert next(block.iter_rows(False))["x"] == pa.scalar(3)
    assert block.to_numpy("name").tolist() == ["c", "a", "d", "b"]
    assert BlockAccessor.batch_to_block({"x": [1]}, BlockType.PANDAS).x.tolist() == [1]
    assert {each.value for each in BatchFormat} == {"arrow", "cudf", "numpy", "pandas"}
    builder = BlockAccessor.builder()
    builder.add({"x": 1})
    builder.add_block({"x": np.array([2])})
    assert (builder.num_rows(), builder.build()["x"].to_pylist()) == (2, [1, 2])
    with pytest.raises(KeyError, match="no column 'y'"):
        block.select(["y"])


def test_a_column_is_asked() -> None:
    column = BlockColumnAccessor.for_column([1.0, None, 3.0, float("nan")])
    assert (column.count(), column.count(ignore_nulls=True)) == (4, 3)
    assert column.dropna().to_pylist() == [1.0, 3.0]
    numbers = BlockColumnAccessor.for_column([1, 2, 2])
    assert numbers.quantile(q=0.5) == 2.0
    assert numbers.sum(as_py=False) == pa.scalar(5)
    assert numbers.value_counts() == {"values": [1, 2], "counts": [1, 2]}
    assert numbers.unique().to_pylist() == [1, 2]
    hashes = numbers.hash().to_pylist()
    assert hashes[1] == hashes[2] != hashes[0]
    lists = BlockColumnAccessor.for_column([[1], [2, 3]])
    assert lists.is_composed_of_lists()
    assert lists.flatten().to_pylist() == [1, 2, 3]
    assert numbers.to_numpy(zero_copy_only=True).tolist() == numbers.to_pylist() == [1, 2, 2]


def test_what_is_known_of_blocks() -> None:
    builder = BlockExecStats.builder()
    stats = builder.build()
    assert stats.wall_time_s is not None
    assert stats.wall_time_s >= 0
    known = BlockMetadataWithSchema.from_block(TABLE, stats)
    assert known.metadata == BlockMetadata(4, TABLE.nbytes, exec_stats=stats)
    assert BlockMetadataWithSchema.from_metadata(known.metadata, TABLE.schema) == known
    [each] = to_stats([known.metadata])
    assert (each.num_rows, each.exec_stats) == (4, stats)
    assert BlockAccessor(TABLE).get_metadata(["a"]).input_files == ["a"]


def test_inference_with_torch_goes_through_its_steps() -> None:
    torch = pytest.importorskip("torch")
    from shoal.data.torch_inference import TorchInference

    class Doubler(TorchInference):
        def initialize(self, factor: int) -> None:
            self.factor = factor

        def process_on_device(self, input_batch: Any, collated_tensors: Any, collated_other: Any) -> Any:
            assert torch.is_inference_mode_enabled()
            return {"out": collated_tensors["x"] * self.factor}, {"name": collated_other["name"]}

    ds = shoal.data.from_items([{"x": 2, "name": "a"}])
    pool = ActorPoolStrategy(size=1)
    assert ds.map_batches(Doubler, fn_constructor_args=(3,), compute=pool).take_all() == [
        {"out": 6, "name": "a"}
    ]

    class Wrong(TorchInference):
        def process_on_device(self, input_batch: Any, collated_tensors: Any, collated_other: Any) -> Any:
            return 3

    with pytest.raises(TypeError, match="process_on_device must return"):
        ds.map_batches(Wrong, compute=pool).take_all()
