"""A manifest as Croissant 1.0 metadata (JSON-LD), for catalogues of data sets.

The metadata describe a licensee's files by glob and the index's columns as a record set over `index.csv`. They have no
download address, since the data sets are not public.

A reader takes a glob that matches nothing for no records, without a word. So a description that is to be read with an
index names that file itself, with its hash: then a reader refuses when it is absent or was changed.
"""

import hashlib
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput
from data_manifests.index import COLUMNS
from data_manifests.manifests import Manifest

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"

# The terms of the specification's own context (section "JSON-LD context" of version 1.0) that appear below.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_ABOUT = {
    "sample_id": "name of the frame, unique in the index",
    "dataset": "letter of the data set",
    "layout": "on-disk form the row was read from",
    "clip_id": "recording",
    "frame": "number of the frame in its recording",
    "subject_id": "official opaque code of the subject, or a salted hash",
    "presenter_id": "official opaque code of who presents the attack",
    "source_id": "official opaque code of the mask or head shown",
    "class": "bonafide or attack",
    "attack_family": "kind of attack instrument, empty for bona fide",
    "attack_code": "the data set's own code",
    "rgb": "reference of the colour image below the root, empty when missing",
    "rgb_shape": "HxW:dtype of the colour image",
    "depth": "reference of the depth image, empty when missing",
    "depth_shape": "HxW:dtype of the depth image",
    "ir": "reference of the infrared image, empty when missing",
    "ir_shape": "HxW:dtype of the infrared image",
    "depth_encoding": "what the stored depth values mean",
    "ir_nm": "nominal wavelength of the infrared image in nanometres",
}


def _index(manifest: Manifest, path: Path | None) -> dict[str, Any]:
    """The index as a file with its hash, or, without a path, whatever `index.csv` lies beside the description."""
    common = {
        "@id": "index",
        "name": "index",
        "description": f"Written by `python -m data_manifests index {manifest.code} --root DIR --out FILE`.",
        "encodingFormat": "text/csv",
    }
    if path is None:
        return {"@type": "cr:FileSet", **common, "includes": "index.csv"}
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); name an index.csv") from None
    return {"@type": "cr:FileObject", **common, "contentUrl": str(path.resolve()), "sha256": sha256}


def croissant(manifest: Manifest, index: Path | None = None) -> dict[str, Any]:
    """The JSON-LD document of one manifest, ready for `json.dumps`; `index` is the file that holds its records."""
    slug = manifest.name.lower().replace(" ", "-")
    files = [
        {
            "@type": "cr:FileSet",
            "@id": layout.id,
            "name": layout.id,
            "description": f"{layout.tree}. {layout.note}",
            "encodingFormat": layout.media,
            "includes": layout.files,
        }
        for layout in manifest.layout
    ]
    source = {"fileObject" if index else "fileSet": {"@id": "index"}}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": slug,
        "alternateName": manifest.name,
        "description": " ".join(
            (
                f"{manifest.name}: faces, bona fide and presentation attacks, in",
                f"{', '.join(modality.name for modality in manifest.modality)}. {manifest.access}",
            )
        ),
        "conformsTo": CONFORMS_TO,
        "license": manifest.licence,
        "url": manifest.url,
        "creator": {"@type": "sc:Organization", "name": manifest.owner},
        "datePublished": str(manifest.year),
        "citeAs": f"{manifest.name}, {manifest.owner}, {manifest.publication}",
        "rai:personalSensitiveInformation": manifest.personal_data,
        "version": f"{manifest.year}.0.0",
        "distribution": [*files, _index(manifest, index)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "frames",
                "name": "frames",
                "description": "One record a frame, as in the canonical index.",
                "key": {"@id": "frames/sample_id"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"frames/{column}",
                        "name": column,
                        "description": _ABOUT[column],
                        "dataType": "sc:Integer" if column in ("frame", "ir_nm") else "sc:Text",
                        "source": {**source, "extract": {"column": column}},
                    }
                    for column in COLUMNS
                ],
            }
        ],
    }
