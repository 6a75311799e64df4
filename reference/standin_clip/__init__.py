"""The stand-in CLIP: a small CLIP trained on procedural faces, for where OpenAI's weights cannot be had.

    python -m reference.standin_clip [--out build/clip]

trains it in a few minutes on a CPU, once, and prints where it lies; `load_clip("phantom")` finds it there. It lets
MMDA run from end to end on stand-in data with towers that know something of faces, materials and sensors before
they see any of it, as CLIP's do. It is no CLIP: it never saw a photograph, and nothing measured with it is evidence
about faces.

What it learns from. Pictures of phantom people (`data_manifests/phantom`) whom no data set shows: their draws have
a name space of their own. Every recording has its own camera and light, drawn from wide ranges; the sets' own domains,
subjects and splits are not used, and nothing here was tuned on them. All families of attacks are among the
pictures, as they are among what CLIP saw on the web (`shots.py`). Every picture is one modality, as three channels,
with a caption put together from what is true of it: modality, bona fide or attack, medium and material, the person's
looks, light (`words.py`). Its words, and often the whole sentence, are on purpose those of `reference/captions`, so
that those sets mean something to the text tower: zero-shot figures are about new people, not about new words.

How (`training.py`). open_clip's own model, tokenizer and `ClipLoss`; AdamW, cosine schedule; input range `released`
(see `reference/clip.py`). Seeded and on one thread: the same weights again on the same machine and libraries. The
file's name is a hash of the settings and of every source that shapes the result (`weights.py`). A JSON file beside it
holds settings and figures, measured on people it was not trained on; the settings had been chosen on yet other people.
"""
