"""What loggers left on the disk, read back with their own libraries."""

import json
import struct


def tensorboard(folder, series):
    """Tag -> [(step, float32 value)] of one series, and its newest config as text."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard" / series), size_guidance={"scalars": 0}).Reload()
    *_, config = found.Tensors("config")
    scalars = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    return scalars, config.tensor_proto.string_val[0].decode()


def wandb(folder):
    """Name of the run -> its history rows, config and exit code, of every offline run in the order of starting."""
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        rows, config, name, code = [], {}, None, None
        for record in _wandb_records(path.read_bytes()):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                rows.append({item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json)
                             for item in record.history.item})  # fmt: skip
            elif kind == "run":
                name = record.run.display_name
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "exit":
                code = record.exit.exit_code
        rows = [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]
        found.append({"id": path.stem, "name": name, "rows": rows, "config": config, "code": code})
    return found


def _wandb_records(data):
    """Records of a .wandb file: LevelDB's log format, blocks of 32 KiB whose pieces are first, middle, last or full."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert data[:4] == b":W&B"
    whole, at = b"", 7
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if not kind:
            break
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # full, last
            yield Record.FromString(whole)
            whole = b""
