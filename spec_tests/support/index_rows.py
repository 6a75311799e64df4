"""A valid row of an index, for the tests that write an index and then break it."""

from data_manifests.index import Row


def row(i: int = 0, **changes: object) -> Row:
    """Row number i, with the `changes`; bona fide where i is even, an attack by print where it is odd."""
    label = "attack" if i % 2 else "bonafide"
    values = {
        "sample_id": f"C:1_{i:03}_1_1_1:{i}",
        "dataset": "C",
        "layout": "cefa-full",
        "clip_id": f"1_{i:03}_1_1_1",
        "frame": i,
        "subject_id": f"C:AF-{i:03}",
        "presenter_id": "",
        "source_id": "",
        "label": label,
        "attack_family": "print" if i % 2 else "",
        "attack_code": "",
        "rgb": f"{i}.jpg",
        "rgb_shape": "24x16:uint8",
        "depth": "",
        "depth_shape": "",
        "ir": f"a/{i}.h5#Frame_1/array[0][2]",
        "ir_shape": "12x8:uint16",
        "depth_encoding": "",
        "ir_nm": 860,
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]
