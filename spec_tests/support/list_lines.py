"""A real line of every format of the public lists, and what the readers must make of it."""


def frames(recording: str, frame: str, label: str, colour: str = "color") -> str:
    """A line of the format `frames`: colour, depth and infrared image of one frame, and its label."""
    return f"{recording}/{colour}/{frame} {recording}/depth/{frame} {recording}/ir/{frame} {label}"


SURF = "CASIA-SURF-CROP/fake_part/fake_train_part/CLKJ_AS0001/04_en_b.rssdk"
SURF_LIVE = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
CEFA = "CeFA/CeFA-Race/AF/AF-000/1_000_3_1_2"
CEFA_LIVE = "CeFA/CeFA-Race/AF/AF-000/1_000_1_1_1"
MASK = "CeFA/CeFA-Mask/3D-Mask/002/1_002_1_1_2_1_3"
WMCA = "WMCA-Image/R_CDIT/002_01_003_2_81"
WMCA_LIVE = "WMCA-Image/R_CDIT/002_01_000_0_00"

# Format, line, data set, `clip_id`, frame, class: a real line of each list, whichever label means live there.
GOLDEN_LINES = [
    ("frames", frames(SURF, "131.jpg", "0"), "S", "CLKJ_AS0001/04_en_b.rssdk", 131, "attack"),
    ("frames", frames(SURF_LIVE, "1.jpg", "1"), "S", "CLKJ_AS0001/real.rssdk", 1, "bonafide"),
    ("frames", frames(CEFA, "0026.jpg", "0", "profile"), "C", "1_000_3_1_2", 26, "attack"),
    ("frames", frames(CEFA_LIVE, "0003.jpg", "1", "profile"), "C", "1_000_1_1_1", 3, "bonafide"),
    ("frames", frames(MASK, "0001.jpg", "0", "profile"), "C", "1_002_1_1_2_1_3", 1, "attack"),
    ("frames", frames(WMCA, "0012.jpg", "0"), "W", "002_01_003_2_81", 12, "attack"),
    ("frames", frames(WMCA_LIVE, "0036.jpg", "1"), "W", "002_01_000_0_00", 36, "bonafide"),
    (
        "frames",
        "Training/real_part/CLKJ_AS0005/real.rssdk/color/31.jpg Training/real_part/CLKJ_AS0005/real.rssdk/depth/31.jpg "
        "Training/real_part/CLKJ_AS0005/real.rssdk/ir/31.jpg 1",
        "S",
        "CLKJ_AS0005/real.rssdk",
        31,
        "bonafide",
    ),
    (
        "frames",
        "Val/0000/000000-color.jpg Val/0000/000000-depth.jpg Val/0000/000000-ir.jpg 0",
        "S",
        "Val/0000/000000",
        0,
        "attack",
    ),
    (
        "frames-unlabelled",
        "Val/0000/000001-color.jpg Val/0000/000001-depth.jpg Val/0000/000001-ir.jpg",
        "S",
        "Val/0000/000001",
        0,
        "",
    ),
    ("stack", "zc7db0ae.npz\t1", "P", "zc7db0ae", 0, "bonafide"),
    ("stack", "1e234567.npz\t0", "P", "1e234567", 0, "attack"),
    ("stack", "ID_abc_1e234567_FACE_WITHOUT_GLASS_1.npz 0", "P", "1e234567", 0, "attack"),
    ("recordings-2020", "train/1_000_1_1_1/profile/0001.jpg 1", "C", "1_000_1_1_1", 1, "bonafide"),
    ("recordings-2020", "dev/003000 0", "C", "003000", None, "attack"),
    ("recordings-2020-unlabelled", "dev/003000", "C", "003000", None, ""),
    ("colour", "CASIA_SURF/Data/Val/fake_part/CLKJ_BS1245/02_e_b.rssdk/color/0002.jpg 1", "S",
     "CLKJ_BS1245/02_e_b.rssdk", 2, "attack"),
    ("colour", "CASIA_CeFA/Ethnicity/EA/EA-324/3_324_1_1_1/color 0", "C", "3_324_1_1_1", None, "bonafide"),
    ("colour", "CASIA_CeFA/Ethnicity/AF/AF-278/1_278_1_1_1/color/0100.jpg 0", "C", "1_278_1_1_1", 100, "bonafide"),
]  # fmt: skip

# Format, whole file, (data set, `clip_id`, class, split): a real row of each list that is a table.
GOLDEN_TABLES = [
    ("idiap", ",client_id,filepath,group,label\n3,2,face-station/17.01.18/002_01_003_2_81,dev,attack/flexiblemask\n",
     ("W", "002_01_003_2_81", "attack", "val")),
    ("idiap", ",client_id,filepath,group,label\n3,2,face-station/17.01.18/002_01_000_0_00,eval,0\n",
     ("W", "002_01_000_0_00", "bonafide", "test")),
    ("idiap", ",client_id,filepath,group,label\r\n1930,109,face-station/05.07.18/109_07_073_2_78,eval,attack\r\n",
     ("W", "109_07_073_2_78", "attack", "test")),
    ("idiap-hq", "1_01_0003_0000_10_01_001-5a1b2c3d,1,attack/makeup,train\n",
     ("H", "1_01_0003_0000_10_01_001-5a1b2c3d", "attack", "train")),
    ("idiap-hq", "video_name,label,type,split\n1_01_0002_0000_00_02_000-2a1b2c3d,0,bonafide,dev\n",
     ("H", "1_01_0002_0000_00_02_000-2a1b2c3d", "bonafide", "val")),
    ("bob", "filename,subject,attack_type\nface-station/17.01.18/002_01_003_2_81,2,flexiblemask\n",
     ("W", "002_01_003_2_81", "attack", "")),
    ("bob", "filename,subject,attack_type\nface-station/17.01.18/002_01_000_0_00,2,\n",
     ("W", "002_01_000_0_00", "bonafide", "")),
    ("padisi", "transaction_id,trial_id,trial_name,partition_name\nt,1e234567,FACE_WITH_GLASS_1,valid\n",
     ("P", "1e234567", "", "val")),
    ("padisi-truth", "transaction_id,trial_id,ground_truth,participant_id,gender\nt,1e234567,m00000,p,x\n",
     ("P", "1e234567", "bonafide", "")),
    ("padisi-truth", "transaction_id,trial_id,ground_truth,participant_id,gender\nt,y0000001,m50101,p,x\n",
     ("P", "y0000001", "attack", "")),
]  # fmt: skip
