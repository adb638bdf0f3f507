"""Captions and questions come from the field's files, and bad files are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import CaptionSample, QuestionSample, clear_cache, load


@pytest.fixture(autouse=True)
def fresh() -> None:
    clear_cache()


def pictures(folder: Path, *names: str) -> None:
    """Write images that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((6, 8, 3), 20 * number + len(str(folder)) % 7, np.uint8)).save(folder / name)


def captions(folder: Path, split: str = "all", name: str = "captions") -> tuple[CaptionSample, ...]:
    return load(f"{name}:{folder}", kind=CaptionSample, split=split)


def questions(folder: Path, split: str = "all", name: str = "questions") -> tuple[QuestionSample, ...]:
    return load(f"{name}:{folder}", kind=QuestionSample, split=split)


def test_a_table_of_captions_has_a_line_a_caption(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "captions.csv").write_text(
        'image,caption\na.png,A dog.\nb.png,"A cat, asleep"\na.png,Dogs!\n'
    )
    first, second = captions(tmp_path)
    assert (first.name, first.captions) == ("a", ("A dog.", "Dogs!"))
    assert second.captions == ("A cat, asleep",) and second.image.shape == (3, 6, 8)


def test_tables_of_splits_are_the_splits(tmp_path: Path) -> None:
    pictures(tmp_path / "train", "1.png", "2.png")
    pictures(tmp_path / "val", "1.png")
    (tmp_path / "train.csv").write_text("image,caption\n1.png,a dog\n2,a cat\n")
    (tmp_path / "val.csv").write_text("image,caption\n1.png,a cow\n")
    assert [sample.name for sample in captions(tmp_path, "train")] == ["train/1", "train/2"]
    assert [sample.captions for sample in captions(tmp_path, "val")] == [("a cow",)]
    with pytest.raises(ValueError, match="must have a split 'test', it has train, val"):
        captions(tmp_path, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na.png,\n", "captions.csv, line 2: caption must have a word .*got ''"),
        ("image,caption\na.png,?!\n", r"line 2: caption must have a word .*got '\?!'"),
        (
            "image,caption\na.png,a dog, asleep\n",
            "line 2: must have 2 cells, got 3; a cell with a comma must be in",
        ),
        ("image,caption\nc.png,a dog\na.png,x\n", "line 2: picture 'c.png' must lie in one of"),
        ("image,caption\n,a dog\na.png,x\n", "line 2: must name an image, got an empty cell"),
        ("image,caption\n", "must have a header and one row or more, got 1 lines"),
        ("image,title\na.png,a dog\n", "must have a column caption, got image, title"),
        (
            "image,caption,split\na.png,a dog,fourth\n",
            "line 2: split must be train, val or test, got 'fourth'",
        ),
        (
            "image,caption,split\na.png,a dog,val\na.png,a cow,train\n",
            "image a.png must be in one split, it is in val",
        ),
        ("image,caption\n../../secret.png,a dog\na.png,x\n", "line 2: .*must lie in the data set's folder"),
    ],
)
def test_a_bad_table_of_captions_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "deep" / "set"
    pictures(folder, "a.png")
    pictures(tmp_path, "secret.png")
    (folder / "captions.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        captions(folder)


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "captions.csv").write_bytes("image,caption\na.png,un café\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"captions\.csv.*must be .*UTF-8"):
        captions(tmp_path)


def test_images_without_captions_are_left_out_with_a_warning(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "captions.csv").write_text("image,caption\na.png,a dog\n")
    with pytest.warns(UserWarning, match="1 images without a caption are left out: b.png"):
        assert len(captions(tmp_path)) == 1


@pytest.mark.parametrize("token", [True, False])
def test_flickr8k_is_read_as_it_is_distributed(tmp_path: Path, token: bool) -> None:
    pictures(tmp_path / "Images", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    lines = [
        ("1.jpg", "A dog ."),
        ("1.jpg", 'The "dog", again'),
        ("2.jpg", "a cat"),
        ("3.jpg", "b"),
        ("4.jpg", "c"),
    ]
    if token:
        text = "".join(f"{name}#{k}\t{caption}\n" for k, (name, caption) in enumerate(lines))
        (tmp_path / "text").mkdir()
        (tmp_path / "text" / "Flickr8k.token.txt").write_text(text)
    else:
        quoted = "".join(f'{name},"{caption.replace(chr(34), chr(34) * 2)}"\n' for name, caption in lines)
        (tmp_path / "captions.txt").write_text(f"image,caption\n{quoted}")
    assert [sample.name for sample in captions(tmp_path, name="flickr8k")] == ["1", "2", "3", "4"]
    for split, names in {"train": "1.jpg\n", "dev": "2.jpg\n", "test": "3.jpg\n"}.items():
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(names)
    clear_cache()
    (first,) = captions(tmp_path, "train", "flickr8k")
    assert first.captions == ("A dog .", 'The "dog", again')
    assert [sample.captions for sample in captions(tmp_path, "val", "flickr8k")] == [("a cat",)]
    assert len(captions(tmp_path, "all", "flickr8k")) == 3


@pytest.mark.parametrize(
    ("token", "other"),
    [("Flickr8k.token.txt", "Flickr8k.lemma.token.txt"), ("results_20130124.token", "readme.txt")],
)
def test_flickr_tokens_are_the_sentences_that_people_wrote(tmp_path: Path, token: str, other: str) -> None:
    pictures(tmp_path, "1.jpg")
    (tmp_path / other).write_text("1.jpg#0\ta dog run\n")
    (tmp_path / token).write_text("1.jpg#0\ta dog runs\n")
    assert captions(tmp_path, name="flickr8k")[0].captions == ("a dog runs",)


def test_bad_files_of_flickr8k_are_named(tmp_path: Path) -> None:
    pictures(tmp_path, "1.jpg")
    with pytest.raises(ValueError, match=r"must hold captions.txt or \*.token.txt, found neither"):
        captions(tmp_path, name="flickr8k")
    (tmp_path / "Flickr8k.token.txt").write_text("1.jpg#0 a dog\n")
    with pytest.raises(ValueError, match="line 1: must be NAME#NUMBER, a tab and a caption"):
        captions(tmp_path, name="flickr8k")
    (tmp_path / "Flickr8k.token.txt").write_text("1.jpg#0\ta dog\n")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("1.jpg\n9.jpg\n")
    with pytest.raises(ValueError, match="images of the lists must have captions, got none for 9"):
        captions(tmp_path, name="flickr8k")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("1.jpg\n")
    (tmp_path / "Flickr_8k.testImages.txt").write_text("1.jpg\n")
    with pytest.raises(ValueError, match=r"image 1\.jpg must be in one split"):
        captions(tmp_path, name="flickr8k")


def coco(folder: Path, images: object, annotations: object, split: str = "train2017") -> None:
    (folder / "annotations").mkdir(exist_ok=True)
    content = {"images": images, "annotations": annotations}
    (folder / "annotations" / f"captions_{split}.json").write_text(json.dumps(content))


def test_coco_captions_are_read(tmp_path: Path) -> None:
    pictures(tmp_path / "train2017", "01.jpg", "02.jpg")
    pictures(tmp_path / "val2017", "03.jpg")
    images = [{"id": 1, "file_name": "01.jpg"}, {"id": 2, "file_name": "02.jpg"}]
    rows = [
        {"image_id": 2, "caption": "a cat"},
        {"image_id": 1, "caption": "a dog"},
        {"image_id": 1, "caption": "dog"},
    ]
    coco(tmp_path, images, rows)
    coco(tmp_path, [{"id": 3, "file_name": "03.jpg"}], [{"image_id": 3, "caption": "a cow"}], "val2017")
    assert [sample.captions for sample in captions(tmp_path, "train", "coco-captions")] == [
        ("a dog", "dog"),
        ("a cat",),
    ]
    assert [sample.name for sample in captions(tmp_path, "val", "coco-captions")] == ["val/03"]


def test_images_of_coco_captions_may_state_their_splits(tmp_path: Path) -> None:
    pictures(tmp_path, "01.jpg", "02.jpg")
    images = [{"id": k, "file_name": f"0{k}.jpg", "split": ("train", "val")[k - 1]} for k in (1, 2)]
    coco(tmp_path, images, [{"image_id": k, "caption": "a dog"} for k in (1, 2)])
    assert [sample.name for sample in captions(tmp_path, "val", "coco-captions")] == ["val/02"]


@pytest.mark.parametrize(
    ("images", "rows", "message"),
    [
        ([{"id": 1}], [], r"images\[0\]: must have an id and a file_name"),
        (
            [{"id": 1, "file_name": "01.jpg"}],
            [{"image_id": 4, "caption": "x"}],
            r"annotations\[0\]: image_id must be",
        ),
        (
            [{"id": 1, "file_name": "01.jpg"}],
            [{"image_id": [1], "caption": "x"}],
            r"annotations\[0\]: image_id must be among those of the file \(1\), got \[1\]",
        ),
        ([{"id": [1], "file_name": "01.jpg"}], [], r"images\[0\]: must have an id and a file_name"),
        (
            [{"id": 1, "file_name": "01.jpg"}],
            [{"image_id": 1, "caption": " "}],
            r"annotations\[0\]: caption must have",
        ),
        ([{"id": 1, "file_name": "01.jpg"}], [{"image_id": 1}], r"caption must be a text, got NoneType"),
        (
            [{"id": 1, "file_name": "09.jpg"}],
            [{"image_id": 1, "caption": "x"}],
            "picture '09.jpg' must lie in one of",
        ),
        (
            [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}],
            [],
            r"images\[1\]: id must be unique and file_name a string, got 1, 'b'",
        ),
        ({}, [], "must be a JSON object with the lists 'images' and 'annotations'"),
    ],
)
def test_bad_coco_captions_are_named(tmp_path: Path, images: object, rows: object, message: str) -> None:
    pictures(tmp_path / "train2017", "01.jpg")
    coco(tmp_path, images, rows)
    with pytest.raises(ValueError, match=message):
        captions(tmp_path, name="coco-captions")


def test_lines_with_one_question_are_answers_of_several_people(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    rows = [
        "a,what is it,dog,what",
        'a,where is it,"in, the snow",where',
        "a,what is it,wolf,what",
        "b,what is it,cat,x",
    ]
    (tmp_path / "questions.csv").write_text("\n".join(["image,question,answer,kind", *rows]))
    first, second, third = questions(tmp_path)
    assert (first.name, first.answers, first.kind) == ("a 1", ("dog", "wolf"), "what")
    assert second.answers == ("in, the snow",) and second.image is first.image
    assert (third.subject, third.answers) == ("b", ("cat",))


def test_images_without_questions_are_left_out_with_a_warning(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "questions.csv").write_text("image,question\na.png,what is it\n")
    with pytest.warns(UserWarning, match="1 images without a question are left out: b.png"):
        assert len(questions(tmp_path)) == 1


def test_questions_need_no_answers(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "questions.csv").write_text("image,question\na.png,what is it\n")
    assert questions(tmp_path)[0].answers == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,question,answer\na.png,,dog\n", "line 2: question must have a word"),
        ("image,question,answer\na.png,what,\n", "line 2: answer must not be empty"),
        ("image,answer\na.png,dog\n", "must have a column question"),
        ("image,question,answer\nz.png,what,dog\na.png,x,y\n", "line 2: picture 'z.png' must lie in one of"),
        (
            "image,question,answer,split\na.png,what,dog,train\na.png,how,dog,test\n",
            "image a.png must be in one split",
        ),
    ],
)
def test_a_bad_table_of_questions_is_named(tmp_path: Path, text: str, message: str) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "questions.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        questions(tmp_path)


def vqa(folder: Path, asked: object, answered: object = None, split: str = "train2014") -> None:
    (folder / f"v2_OpenEnded_mscoco_{split}_questions.json").write_text(json.dumps({"questions": asked}))
    if answered is not None:
        (folder / f"v2_mscoco_{split}_annotations.json").write_text(json.dumps({"annotations": answered}))


ASKED = [{"question_id": 70, "image_id": 7, "question": "What is it?"}]
ANSWERED = [
    {"question_id": 70, "answer_type": "other", "answers": [{"answer": "dog"}] * 9 + [{"answer": "a wolf"}]}
]


def test_vqa_has_ten_answers_a_question(tmp_path: Path) -> None:
    pictures(tmp_path / "train2014", "COCO_train2014_000000000007.jpg")
    pictures(tmp_path / "test2015", "COCO_test2015_000000000008.jpg")
    vqa(tmp_path, ASKED, ANSWERED)
    vqa(tmp_path, [{"question_id": 80, "image_id": 8, "question": "How many?"}], split="test2015")
    (first,), (second,) = questions(tmp_path, "train", "vqa"), questions(tmp_path, "test", "vqa")
    assert first.answers == ("dog",) * 9 + ("a wolf",) and first.kind == "other"
    assert (second.name, second.subject, second.answers) == ("test/8 80", "test/8", ())


@pytest.mark.parametrize(
    ("asked", "answered", "message"),
    [
        (
            [{**ASKED[0], "image_id": 9}],
            ANSWERED,
            r"questions\[0\]: image_id 9 must be the number at the end",
        ),
        ([{**ASKED[0], "question": "?"}], ANSWERED, r"questions\[0\]: question must have a word"),
        (
            [{**ASKED[0], "question": 3}],
            ANSWERED,
            r"questions\[0\]: must have question_id, image_id, question",
        ),
        (
            ASKED,
            [{**ANSWERED[0], "question_id": 71}],
            r"annotations\[0\]: question_id must be among .*, got 71",
        ),
        (ASKED, [{**ANSWERED[0], "answers": ["yes", 3]}], "answers must be texts, got 3"),
        (
            [*ASKED, {**ASKED[0], "question_id": 72}],
            ANSWERED,
            r"questions\[1\]: question_id 72 must have answers in",
        ),
        ([], ANSWERED, "must be a JSON object with a list 'questions' of one entry or more"),
    ],
)
def test_bad_vqa_files_are_named(tmp_path: Path, asked: object, answered: object, message: str) -> None:
    pictures(tmp_path / "train2014", "COCO_train2014_000000000007.jpg")
    vqa(tmp_path, asked, answered)
    with pytest.raises(ValueError, match=message):
        questions(tmp_path, name="vqa")


def test_answers_of_vqa_are_not_lost_where_only_their_file_names_a_split(tmp_path: Path) -> None:
    pictures(tmp_path, "7.jpg")
    vqa(tmp_path, ASKED, ANSWERED)
    (tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json").rename(tmp_path / "questions.json")
    with pytest.raises(ValueError, match=r"must name the same splits, or none, got questions\.json, v2_"):
        questions(tmp_path, name="vqa")
    (tmp_path / "v2_mscoco_train2014_annotations.json").rename(tmp_path / "annotations.json")
    assert len(questions(tmp_path, name="vqa")[0].answers) == 10
