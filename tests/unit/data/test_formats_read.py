"""Formats: small made-up trees of each, read as labels and sides, and everything that can be wrong."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from handlens.base.errors import HandlensError, Problems
from handlens.data.samples import Samples


@pytest.fixture
def tree(tmp_path, write_picture):
    """Write pictures and texts below a folder of some name, and give the folder."""

    def write(name, *pictures, **texts):
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            write_picture(root / picture)
        for place, text in texts.items():
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return root

    return write


def labels(samples, column="label"):
    return dict(zip(samples.table["id"], samples.table[column], strict=True))


class TestHuawei:
    RULES: ClassVar = {"0": "其他垃圾/一次性快餐盒", "1": "可回收物/充电宝", "2": "可回收物/包"}

    def garbage(self, tree, rules=None):
        texts = {f"train_data/img_{i}.txt": f"img_{i}.jpg, {i % 2}" for i in range(4)}
        rules = {"garbage_classify_rule.json": rules or self.RULES}
        return tree("garbage_classify", *(f"train_data/img_{i}.jpg" for i in range(4)), **texts, **rules)

    def test_names_kinds_and_recognition(self, tree):
        root = self.garbage(tree)
        samples = Samples.from_huawei(root)
        assert list(labels(samples).values()) == ["一次性快餐盒", "充电宝"] * 2
        assert samples.table["kind"].to_list() == ["其他垃圾", "可回收物"] * 2
        assert samples.notes[0] == (
            "Read as Huawei's label files; the classes are named by garbage_classify_rule.json."
        )
        recognised = Samples.read(root)
        assert recognised.table.equals(samples.table)
        assert "--format label_files" in recognised.notes[1]
        plain = Samples.read(root, format="label_files")
        assert plain.classes == ("0", "1")

    def test_the_names_may_lie_beside_the_pictures_folder_or_be_given(self, tree, tmp_path):
        root = self.garbage(tree)
        assert Samples.from_huawei(root / "train_data").classes == ("一次性快餐盒", "充电宝")
        other = tmp_path / "names of mine.txt"
        other.write_text("0: wood\n1: metal\n", encoding="utf-8")
        samples = Samples.read(str(root), format="huawei", class_names=other)
        assert samples.classes == ("metal", "wood")
        assert "kind" not in samples.table.columns

    def test_names_that_are_alike_without_their_kind_stay_whole(self, tree):
        root = self.garbage(tree, {"0": "wet/box", "1": "dry/box"})
        assert Samples.from_huawei(root).classes == ("dry/box", "wet/box")

    def test_names_missing_or_several(self, tree):
        root = self.garbage(tree)
        (root / "classes.txt").write_text("a\nb\n")
        with pytest.raises(HandlensError, match=r"several files that may name.*--class-names"):
            Samples.from_huawei(root)
        (root / "classes.txt").unlink()
        (root / "garbage_classify_rule.json").unlink()
        with pytest.raises(HandlensError, match="no file with the names of the classes"):
            Samples.from_huawei(root)
        assert Samples.read(root / "train_data").classes == ("0", "1")


class TestMvtec:
    def bottle(self, tree, name="bottle"):
        return tree(
            name,
            *(f"train/good/{i:03}.png" for i in range(3)),
            "test/good/000.png",
            "test/broken large/000.png",
            "test/broken large/001.png",
            "ground_truth/broken large/000_mask.png",
            "test/污染/000.png",
            "ground_truth/污染/000_mask.png",
        )

    def test_one_category(self, tree):
        samples = Samples.from_mvtec(self.bottle(tree))
        assert samples.counts() == {"broken large": 2, "good": 4, "污染": 1}
        assert not samples.is_split
        assert samples.table["official_split"].value_counts().sort("count").rows() == [
            ("train", 3),
            ("test", 4),
        ]
        assert labels(samples, "mask")["test/污染/000.png"] == "ground_truth/污染/000_mask.png"
        assert labels(samples, "mask")["test/broken large/001.png"] is None
        assert labels(samples, "state")["test/good/000.png"] == "good"
        assert labels(samples, "state")["test/broken large/000.png"] == "defective"
        assert not any("ground_truth" in id_ for id_ in samples.table["id"])
        assert samples.notes[1].startswith("The official split has no defect in training")
        assert samples.notes[2] == "1 pictures of defects have no mask: test/broken large/001.png."

    def test_several_categories_and_other_columns(self, tree, tmp_path):
        self.bottle(tree, "mvtec/bottle")
        self.bottle(tree, "mvtec/metal nut")
        tree("mvtec", readme=b"x")
        root = tmp_path / "mvtec"
        samples = Samples.read(root)
        assert "bottle/good" in samples.classes
        assert len(samples.classes) == 6
        assert samples.notes[0].startswith(
            "Read as MVTec AD (bottle, metal nut): the label is the category and"
        )
        assert "--format folder" in samples.notes[1]
        states = Samples.from_mvtec(root, label="State")
        assert states.counts() == {"defective": 6, "good": 8}
        assert states.label_name == "state"
        split = Samples.read(root, label="category", split="official_split", group="defect")
        assert split.is_split
        assert set(split.table["group"]) == {"good", "broken large", "污染"}
        assert Samples.read(root, format="folder").classes == ("bottle", "metal nut")

    def test_masks_in_folders_and_a_validation_side(self, tree):
        root = tree(
            "breakfast",
            "train/good/0.png",
            "validation/good/0.png",
            "test/logical/0.png",
            "ground_truth/logical/0/000.png",
            "ground_truth/logical/0/001.png",
        )
        samples = Samples.read(root)
        assert labels(samples, "official_split")["validation/good/0.png"] == "val"
        assert labels(samples, "mask")["test/logical/0.png"] == "ground_truth/logical/0"
        assert len(samples) == 3

    def test_what_is_none(self, tree):
        root = tree("x", "train/good/1.png", "test/good/1.png", "train/bad/1.png")
        with pytest.raises(HandlensError, match="does not look like MVTec AD"):
            Samples.from_mvtec(root)
        assert Samples.read(root).is_split
        with pytest.raises(HandlensError, match=r"no column 'stat' for the label.*Did you mean 'state'"):
            Samples.from_mvtec(self.bottle(tree), label="stat")
        with pytest.raises(HandlensError, match="says 'broken large', 'good', '污染', which is no side"):
            Samples.read(self.bottle(tree), split="defect")


class TestDagm:
    def texture(self, tree, name="Class1", defective=("0001",), extra="", count=3):
        texts = {}
        pictures = []
        for side in ("Train", "Test"):
            lines = ["1"]
            for i in range(count):
                stem = f"{i:04}"
                pictures.append(f"{side}/{stem}.PNG")
                if stem in defective:
                    pictures.append(f"{side}/Label/{stem}_label.PNG")
                    lines.append(f"{i + 1}\t1\t{stem}.PNG\t0\t{stem}_label.PNG")
                else:
                    lines.append(f"{i + 1}\t0\t{stem}.PNG\t0\t0")
            texts[f"{side}/Label/Labels.txt"] = "\ufeff" + "\r\n".join(lines) + "\r\n" + extra
        return tree(name, *pictures, **texts)

    def test_one_texture(self, tree):
        root = self.texture(tree)
        samples = Samples.read(root)
        assert samples.counts() == {"defective": 2, "good": 4}
        assert len(samples.side("train")) == len(samples.side("test")) == 3
        assert labels(samples, "mask")["Train/0001.PNG"] == "Train/Label/0001_label.PNG"
        assert labels(samples, "mask")["Train/0000.PNG"] is None
        assert not any("Label" in id_ for id_ in samples.table["id"])
        assert "recognised" in samples.notes[1]

    def test_several_textures_also_in_folders_of_their_own(self, tree, tmp_path):
        self.texture(tree, "DAGM/Class1")
        self.texture(tree, "DAGM/Class10/Class10")
        self.texture(tree, "DAGM/Class2", defective=())
        samples = Samples.from_dagm(tmp_path / "DAGM")
        assert samples.classes == (
            "Class1/defective",
            "Class1/good",
            "Class10/defective",
            "Class10/good",
            "Class2/good",
        )
        assert "(Class1, Class2, Class10)" in samples.notes[0]
        assert Samples.from_dagm(tmp_path / "DAGM", label="state").counts() == {"defective": 4, "good": 14}

    def test_without_the_list_the_masks_say_it(self, tree):
        root = self.texture(tree)
        for side in ("Train", "Test"):
            (root / side / "Label" / "Labels.txt").unlink()
        assert Samples.from_dagm(root).counts() == {"defective": 2, "good": 4}

    def test_everything_wrong_is_told_at_once(self, tree):
        root = self.texture(
            tree, extra="9\t1\tmissing.PNG\t0\tx\r\n10\tmaybe\t0002.PNG\r\n1\t0\t0000.PNG\t0\t0\r\n"
        )
        (root / "Train" / "0000.PNG").rename(root / "Train" / "new.PNG")
        with pytest.raises(Problems) as error:
            Samples.from_dagm(root)
        told = str(error.value)
        assert "Train/Label/Labels.txt, line 5: the picture 'missing.PNG' is not in Train" in told
        assert "Test/Label/Labels.txt, line 6: it says '10\\tmaybe" in told
        assert "line 7: '0000.PNG' was named before" in told
        assert "Train/new.PNG: " in told

    def test_a_mask_of_a_good_picture_is_told(self, tree, write_picture):
        root = self.texture(tree)
        write_picture(root / "Train" / "Label" / "0000_label.PNG")
        with pytest.raises(
            Problems, match=r"Train/0000\.PNG: .* says that it is good, but there is the mask"
        ):
            Samples.from_dagm(root)

    def test_what_is_none(self, tree):
        with pytest.raises(HandlensError, match="does not look like DAGM 2007"):
            Samples.from_dagm(tree("y", "Class1/1.png"))
        assert Samples.read(tree("z", "Class1/1.png", "Class2/1.png")).classes == ("Class1", "Class2")


def run_lengths(mask):
    """The runs of a mask down its columns, as the competition writes them; from numpy alone."""
    flat = np.concatenate([[0], mask.T.ravel(), [0]])
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    changes[1::2] -= changes[::2]
    return " ".join(map(str, changes))


class TestSeverstal:
    def masks(self):
        rng = np.random.default_rng(0)
        return {
            ("a.jpg", "1"): rng.random((16, 40)) < 0.1,
            ("a.jpg", "3"): rng.random((16, 40)) < 0.4,
            ("图 b.jpg", "2"): rng.random((16, 40)) < 0.2,
        }

    def steel(self, tree, text=None, pictures=("a.jpg", "图 b.jpg", "c.jpg")):
        rows = [f"{name},{of_class},{run_lengths(mask)}" for (name, of_class), mask in self.masks().items()]
        text = "\n".join(["ImageId,ClassId,EncodedPixels", *rows]) + "\n" if text is None else text
        return tree(
            "steel",
            *(f"train_images/{name}" for name in pictures),
            "test_images/x.jpg",
            **{"train.csv": text},
        )

    def test_the_class_of_most_area(self, tree):
        root = self.steel(tree)
        samples = Samples.from_severstal(root)
        areas = {key: int(mask.sum()) for key, mask in self.masks().items()}
        assert areas["a.jpg", "3"] > areas["a.jpg", "1"]
        assert labels(samples) == {
            "train_images/a.jpg": "3",
            "train_images/c.jpg": "none",
            "train_images/图 b.jpg": "2",
        }
        assert labels(samples, "all_labels")["train_images/a.jpg"] == "1+3"
        assert labels(samples, "one_or_several")["train_images/a.jpg"] == "several"
        assert labels(samples, "state")["train_images/c.jpg"] == "good"
        assert samples.notes[1] == "The 1 pictures of test_images have no labels and were left out."
        assert Samples.read(root).table.equals(samples.table)
        assert Samples.from_severstal(root, label="one_or_several").classes == ("2", "none", "several")

    def test_the_older_table(self, tree):
        rows = []
        for name in ("a.jpg", "图 b.jpg", "c.jpg"):
            for of_class in "1234":
                mask = self.masks().get((name, of_class))
                rows.append(f"{name}_{of_class},{'' if mask is None else run_lengths(mask)}")
        old = self.steel(tree, "\n".join(["ImageId_ClassId,EncodedPixels", *rows]) + "\n")
        old_samples = Samples.read(old)
        new = Samples.read(self.steel(tree))
        assert old_samples.table.equals(new.table)

    def test_of_equal_areas_the_first_class(self, tree):
        text = "ImageId,ClassId,EncodedPixels\na.jpg,4,1 3\na.jpg,2,9 2 20 1\nc.jpg,1,1 1\n"
        samples = Samples.from_severstal(self.steel(tree, text))
        assert labels(samples)["train_images/a.jpg"] == "2"

    def test_everything_wrong_is_told_at_once(self, tree):
        text = (
            "ImageId,ClassId,EncodedPixels\na.jpg,1,1 2 3\na.jpg,2,5 x\na.jpg,3,1 0\n"
            "../steel2/secret.jpg,1,1 1\n/etc/passwd,1,1 1\nmissing.jpg,1,1 1\n"
            "c.jpg,1,1 1\nc.jpg,1,5 1\n,1,1 1\n"
        )
        with pytest.raises(Problems) as error:
            Samples.from_severstal(self.steel(tree, text))
        told = "\n".join(error.value.problems)
        assert "row 2: the mask '1 2 3' is not made of pairs" in told
        assert "row 3: the mask '5 x'" in told
        assert "row 4: the mask '1 0'" in told
        assert "row 5: the picture '../steel2/secret.jpg' leads out of the folder" in told
        assert "row 6: the picture '/etc/passwd' leads out" in told
        assert "row 7: the picture 'missing.jpg' is not in train_images" in told
        assert "rows 8, 9: 'c.jpg' has a mask of class 1 twice" in told
        assert "row 10: the picture or its class is missing" in told
        assert len(error.value.problems) == 8

    def test_tables_that_will_not_do(self, tree, tmp_path):
        with pytest.raises(HandlensError, match="has the columns ImageId, Label"):
            Samples.from_severstal(self.steel(tree, "ImageId,Label\na.jpg,1\n"))
        with pytest.raises(HandlensError, match="not UTF-8"):
            Samples.from_severstal(self.steel(tree, "ImageId,ClassId\n塑料,1\n".encode("gbk")))
        with pytest.raises(HandlensError, match="cannot be read as a table"):
            Samples.from_severstal(self.steel(tree, ""))
        (tmp_path / "empty").mkdir()
        with pytest.raises(HandlensError, match=r"There is no train\.csv"):
            Samples.from_severstal(tmp_path / "empty")


class TestCoco:
    CATEGORIES: ClassVar = [
        {"id": 7, "name": "猫", "supercategory": "animal"},
        {"id": 9, "name": "dog", "supercategory": "animal"},
        {"id": 11, "name": "cup", "supercategory": "thing"},
        {"id": 12, "name": "fork", "supercategory": "thing"},
    ]

    def instances(self, names, annotations, categories=None):
        return {
            "images": [{"id": i, "file_name": name, "width": 4, "height": 4} for i, name in enumerate(names)],
            "categories": self.CATEGORIES if categories is None else categories,
            "annotations": [
                {"id": n, "image_id": image, "category_id": category, **more}
                for n, (image, category, more) in enumerate(annotations)
            ],
        }

    def coco(self, tree):
        train = self.instances(
            ["1.jpg", "图 2.jpg", "3.jpg"],
            [
                (0, 7, {"area": 5.5}),
                (0, 9, {"area": 4}),
                (0, 9, {"bbox": [0, 0, 1, 2]}),
                (1, 11, {"area": 1}),
            ],
        )
        val = self.instances(["v 1.jpg"], [(0, 7, {"area": 3.0, "segmentation": [[0, 0, 1, 1]]})])
        return tree(
            "coco",
            *(f"train2017/{name}" for name in ("1.jpg", "图 2.jpg", "3.jpg")),
            "val2017/v 1.jpg",
            **{
                "annotations/instances_train2017.json": train,
                "annotations/instances_val2017.json": val,
                "annotations/captions_train2017.json": {"images": []},
            },
        )

    def test_the_category_of_most_area_in_all(self, tree):
        root = self.coco(tree)
        samples = Samples.from_coco(root)
        # dog: 4 + 1 × 2 is more than 5.5.
        assert labels(samples) == {
            "train2017/1.jpg": "dog",
            "train2017/3.jpg": "none",
            "train2017/图 2.jpg": "cup",
            "val2017/v 1.jpg": "猫",
        }
        assert labels(samples, "all_labels")["train2017/1.jpg"] == "猫+dog"
        assert labels(samples, "kind")["train2017/图 2.jpg"] == "thing"
        assert labels(samples, "kind")["train2017/3.jpg"] == "none"
        assert len(samples.side("val")) == 1
        assert any("no picture shows: fork" in note for note in samples.notes)
        assert Samples.read(root).table.equals(samples.table)
        several = Samples.from_coco(root, label="one_or_several")
        assert labels(several)["train2017/1.jpg"] == "several"

    def test_one_file_has_no_sides(self, tree):
        root = self.coco(tree)
        samples = Samples.read(root / "annotations" / "instances_train2017.json")
        assert len(samples) == 3
        assert not samples.is_split
        assert samples.root == root

    def test_categories_of_whole_pictures_come_first(self, tree):
        told = self.instances(
            ["a.png", "b.png"], [(0, 9, {"area": 100}), (0, 11, {}), (1, 7, {"bbox": [0, 0, 2, 2]})]
        )
        root = tree("flat", "images/a.png", "images/b.png", **{"labels.json": told})
        samples = Samples.from_coco(root)
        assert labels(samples) == {"images/a.png": "cup", "images/b.png": "猫"}
        assert Samples.read(root / "labels.json").table.equals(samples.table)

    def test_as_roboflow_exports_it(self, tree):
        texts = {}
        for side, name in (("train", "a b.jpg"), ("valid", "c.jpg")):
            category = 7 if side == "train" else 9
            texts[f"{side}/_annotations.coco.json"] = self.instances([name], [(0, category, {"area": 2})])
        samples = Samples.read(tree("robo", "train/a b.jpg", "valid/c.jpg", **texts))
        assert samples.table.select("id", "label", "split").rows() == [
            ("train/a b.jpg", "猫", "train"),
            ("valid/c.jpg", "dog", "val"),
        ]

    def test_no_name_leads_out_of_the_folder(self, tree, write_picture, tmp_path):
        write_picture(tmp_path / "secret.png")
        names = [
            "../secret.png",
            str(tmp_path / "secret.png"),
            "C:\\secret.png",
            "a/../../secret.png",
            "1.png",
        ]
        told = self.instances(names, [(0, 7, {"area": 1})])
        root = tree("c", "images/1.png", **{"annotations/instances_x.json": told})
        with pytest.raises(Problems) as error:
            Samples.read(root)
        assert sum("leads out of the folder" in problem for problem in error.value.problems) == 4
        assert len(error.value.problems) == 4

    def test_everything_wrong_is_told_with_its_place(self, tree):
        told = self.instances(
            ["1.png", "gone.png", "1.png"],
            [
                (5, 7, {"area": 1}),
                (0, 99, {"area": 1}),
                (0, 7, {"area": -4}),
                (0, 7, {"bbox": [1, 2]}),
                ([], 7, {}),
                (0, 7, {"area": 1e309}),
                (0, 7, {"area": True}),
            ],
        )
        told["images"] += [{"id": 0, "file_name": "x.png"}, {"id": 8}, "picture"]
        told["categories"] = [*self.CATEGORIES, {"id": 7, "name": "again"}, {"id": 20, "name": " "}]
        root = tree("c", "images/1.png", **{"annotations/instances_x.json": told})
        with pytest.raises(Problems) as error:
            Samples.from_coco(root)
        problems = "\n".join(error.value.problems)
        for part in (
            "instances_x.json, annotations[0]: there is no picture with the id 5",
            "annotations[1]: there is no category with the id 99",
            "annotations[2]: neither its area nor its bbox",
            "annotations[3]: neither its area",
            "annotations[4]: there is no picture with the id []",
            "annotations[5]: neither its area",
            "annotations[6]: neither its area",
            "images[3]: the id 0 was there before",
            "images[4]: it needs an id and a file_name",
            "images[5]: this is 'picture'",
            "categories[4]: the id 7",
            "categories[5]: it needs an id and a name",
            "the picture 'gone.png' is not in images",
            "the picture '1.png' is there twice",
        ):
            assert part in problems, part

    def test_damaged_files(self, tree):
        def read(content):
            return Samples.from_coco(tree("d", "images/1.png", **{"annotations/instances_x.json": content}))

        with pytest.raises(
            HandlensError, match=r"instances_x\.json, line 2, column 3: this is not valid JSON"
        ):
            read(b'{"images":\n  oops}')
        with pytest.raises(HandlensError, match="not UTF-8"):
            read(b'{"images": "\xff\xfe"}')
        with pytest.raises(HandlensError, match="does not hold the lists"):
            read({"images": []})
        with pytest.raises(HandlensError, match="nested too deeply"):
            read(b"[" * 200_000)
        with pytest.raises(HandlensError, match="There is no picture"):
            read(self.instances([], []))
        with pytest.raises(HandlensError, match="no JSON file with annotations"):
            Samples.from_coco(tree("e", "1.png"))

    def test_many_problems_are_counted(self, tree):
        told = self.instances([f"{i}.png" for i in range(50)], [])
        with pytest.raises(Problems, match="and 30 more of this kind"):
            Samples.from_coco(tree("m", "images/x.png", **{"annotations/instances_x.json": told}))


class TestYolo:
    def yolo(self, tree, yaml=None, classes=("0", "1")):
        pictures = [
            f"{side}/{each}/{n}.jpg" for side in ("train", "val") for each in classes for n in range(2)
        ]
        return tree("cls", *pictures, "train/loose.jpg", **({"data.yaml": yaml} if yaml else {}))

    @pytest.mark.parametrize("names", ["[cat 1, 狗]", "{0: cat 1, 1: 狗}", "\n  0: cat 1\n  1: 狗\n"])
    def test_numbers_get_their_names(self, tree, names):
        root = self.yolo(tree, f"path: ../datasets/cls\ntrain: train\nval: val\nnc: 2\nnames: {names}")
        samples = Samples.from_yolo_cls(root)
        assert samples.counts() == {"cat 1": 4, "狗": 4}
        assert len(samples.side("train")) == len(samples.side("val")) == 4
        assert "1 pictures beside the class folders were left out: train/loose.jpg." in samples.notes
        assert Samples.read(root).table.equals(samples.table)
        assert Samples.read(root / "data.yaml").table.equals(samples.table)
        assert Samples.read(root, format="folder").classes == ("0", "1")

    def test_folders_may_bear_the_names(self, tree):
        root = self.yolo(tree, "names: [no, yes, 20]\n", classes=("no", "yes"))
        samples = Samples.from_yolo_cls(root)
        assert samples.classes == ("no", "yes")
        assert "Classes without a picture: 20." in samples.notes

    def test_sides_elsewhere_in_the_folder(self, tree, tmp_path):
        root = tree(
            "x",
            "pics/lernen/a/1.jpg",
            "pics/prüfen/b/1.jpg",
            **{"data.yaml": "path: pics\ntrain: lernen\nval: prüfen"},
        )
        samples = Samples.from_yolo_cls(root)
        assert samples.table.select("label", "split").rows() == [("a", "train"), ("b", "val")]

    def test_sides_that_lead_out_are_not_followed(self, tree):
        tree("outside", "a/1.jpg", "b/1.jpg")
        root = self.yolo(tree, "train: ../outside\nval: /etc\nnames: [a, b]")
        assert {Path(path).parents[2] for path in Samples.from_yolo_cls(root).table["path"]} == {root}

    @pytest.mark.parametrize(
        ("yaml", "sides", "told"),
        [
            ("train: train\nval: test", {"train", "test"}, "test and val: its pictures are taken for test"),
            ("train: train\nval: ./test\ntest: test", {"train", "test"}, "test and val: its pictures are"),
            (
                "train: train\nval: train",
                {"train", "test"},
                "train and val: its pictures are taken",
            ),
            ("train: test\nval: test", {None}, "test and train and val: its pictures have no sides"),
        ],
    )
    def test_a_folder_is_of_one_side_only(self, tree, yaml, sides, told):
        pictures = [f"{side}/{each}/{n}.jpg" for side in ("train", "test") for each in "ab" for n in (1, 2)]
        root = tree("cls", *pictures, **{"data.yaml": f"{yaml}\nnames: [a, b]"})
        samples = Samples.read(root)
        assert set(samples.table["split"]) == sides
        there = [name for name in sorted(pictures) if sides != {None} or name.startswith("test")]
        assert samples.table["id"].to_list() == there
        assert any(note.startswith("The folder t") and told in note for note in samples.notes)

    def test_a_folder_inside_that_of_another_side_is_told(self, tree):
        root = tree("cls", "p/a/1.jpg", "p/t/b/1.jpg", **{"data.yaml": "train: p\ntest: p/t"})
        with pytest.raises(HandlensError, match=r"1 pictures of .*several times \(p/t/b/1\.jpg\)\. Name"):
            Samples.from_yolo_cls(root)

    def test_without_yaml(self, tree):
        assert Samples.from_yolo_cls(self.yolo(tree)).classes == ("0", "1")

    @pytest.mark.parametrize(
        ("yaml", "message"),
        [
            ("names: [a, a]", "a stands there twice"),
            ("names: [a]", "1: .* does not name this class"),
            ("names: {x: a}", "write a list of names"),
            ("names: a", "write a list of names"),
            ("- a", "does not map keys"),
            ("names: [a\n", "not valid YAML"),
        ],
    )
    def test_files_that_will_not_do(self, tree, yaml, message):
        with pytest.raises(HandlensError, match=message):
            Samples.from_yolo_cls(self.yolo(tree, yaml))

    def test_sets_for_detecting_and_others(self, tree):
        root = tree("det", "train/images/1.jpg", "val/images/1.jpg", **{"data.yaml": "names: [a]"})
        with pytest.raises(HandlensError, match="Sets for detecting"):
            Samples.from_yolo_cls(root)
        with pytest.raises(HandlensError, match="There are no sides"):
            Samples.from_yolo_cls(tree("none", "a/1.jpg"))


class TestChoosing:
    def test_an_unknown_format_is_told_with_the_known_ones(self, tmp_path):
        with pytest.raises(
            HandlensError, match=r"no format called 'mvtek'. Did you mean 'mvtec'\?.*severstal"
        ):
            Samples.read(tmp_path, format="mvtek")

    def test_what_fits_two_formats_is_read_as_ever(self, tree):
        told = {"images": [], "categories": [], "annotations": []}
        root = tree(
            "both",
            "train/good/1.png",
            "test/bad/1.png",
            "ground_truth/bad/1.png",
            **{"annotations/instances_train.json": told},
        )
        assert Samples.read(root).notes[0].startswith("Read as a ready-made split")

    def test_columns_and_class_names_where_there_are_none(self, tree, tmp_path):
        root = tree("plain", "a/1.png", "b/1.png")
        with pytest.raises(HandlensError, match="is not a table"):
            Samples.read(root, format="folder", label="x")
        mvtec = tree("m", "train/good/1.png", "test/bad/1.png", "ground_truth/bad/1.png")
        with pytest.raises(HandlensError, match="mvtec names its classes itself"):
            Samples.read(mvtec, class_names=tmp_path / "names.txt")

    def test_a_manifest_at_the_top_is_what_counts(self, tree):
        root = tree("made", "a/1.png", "b/1.png", "b/not listed.png")
        table = pl.DataFrame(
            {
                "id": ["a/1.png", "b/1.png"],
                "path": [str(root / "a/1.png"), str(root / "b/1.png")],
                "label": ["甲", "乙"],
                "group": ["g", "h"],
                "split": ["train", "test"],
                "wear": ["new", "old"],
            }
        )
        written = Samples(table, root, ("Made.",))
        written.save(root / "samples.csv")
        assert Samples.read(root) == written
        assert Samples.read(root, label="wear").classes == ("new", "old")
        assert Samples.read(root, format="folder").classes == ("a", "b")
        with pytest.raises(HandlensError, match="says itself what is the group"):
            Samples.read(root, group="wear")
        (root / "samples.csv").write_text("path,label\na/1.png,x\n")
        assert Samples.read(root).classes == ("a", "b")

    def test_an_unfinished_folder_is_told(self, tree):
        root = tree("made", "a/1.png", "b/1.png", **{"made.json": "{}"})
        with pytest.raises(HandlensError, match="was not finished"):
            Samples.read(root)
