"""Train on a Parquet file that need not fit into memory, batch by batch (needs ``pip install pyarrow``)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fusednet as fn

FEATURES = ["temperature", "humidity", "wind", "hour"]
ROWS, BATCH = 500_000, 256


def write(path: Path) -> None:
    """Make up a file as a measuring station might write it: mixed types, row group after row group."""
    rng = np.random.default_rng(0)
    schema = pa.schema(
        {"temperature": pa.float16(), "humidity": pa.float32(), "wind": pa.float64(), "hour": pa.int8()}
        | {"load": pa.float32()}
    )
    with pq.ParquetWriter(path, schema) as writer:
        for _ in range(10):
            n = ROWS // 10
            temperature, humidity = rng.normal(12, 8, n), rng.uniform(0.2, 1.0, n)
            wind, hour = rng.gamma(2.0, 2.0, n), rng.integers(0, 24, n)
            load = (temperature - 18) ** 2 / 50 + wind * humidity / 3 + 2 * np.sin(hour * np.pi / 12)
            columns = [temperature.astype(np.float16), humidity, wind, hour.astype(np.int8), load]
            writer.write_table(
                pa.table([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)
            )


def batches(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through the file once; `fit` calls this for each epoch, in a thread beside the training."""
    with pq.ParquetFile(path) as file:
        for part in file.iter_batches(BATCH):
            X = np.column_stack([part[name].to_numpy(zero_copy_only=False) for name in FEATURES])
            yield X, part["load"].to_numpy()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "station.parquet"
        write(path)
        net = fn.Network([4, 32, 32, 1], seed=0)
        first, _ = next(batches(path))
        net.standardize(first)  # the features differ in scale
        history = net.fit(lambda: batches(path), epochs=3, optimizer=fn.Adam(0.003))
        X, y = next(batches(path))
        print(f"{path.stat().st_size / 1e6:.1f} MB; mean squared error by epoch:", np.round(history.loss, 4))
        print(f"R² on the first batch: {net.evaluate(X, y)['r2']:.4f}")


if __name__ == "__main__":
    main()
