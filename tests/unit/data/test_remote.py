"""Remote paths: what lies elsewhere is brought once, whole, and read as if it lay here."""

import io
import json
import os
import stat
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import fsspec
import polars as pl
import pytest
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.data import addresses, remote_copy
from handlens.data.remote import fetch
from handlens.data.samples import Samples


def picture(value=0):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 40, 40)).save(stream, "PNG")
    return stream.getvalue()


FILES = {
    "石墨 ore/图 1.png": picture(1),
    "石墨 ore/deep/2.png": picture(2),
    "gangue/a+b 100%.png": picture(3),
    "gangue/3.png": picture(4),
    "notes.txt": b"by hand",
    "video.mp4": b"x" * 1000,
    ".hidden/1.png": picture(5),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of its own, no network forbidden, and nothing left in memory://."""
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HANDLENS_OFFLINE", raising=False)
    memory = fsspec.filesystem("memory")
    yield tmp_path / "cache"
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.fixture
def local(tmp_path):
    """The files on this machine."""
    return lay(tmp_path / "my photos")


def lay(root, files=FILES):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def in_memory(files=FILES, top="photos"):
    memory = fsspec.filesystem("memory")
    for name, content in files.items():
        memory.pipe(f"/{top}/{name}", content)
    return memory


@pytest.fixture
def web(local):
    """The same files on a web server of this machine; gives its address and what was asked of it."""
    pytest.importorskip("aiohttp")
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(("GET", unquote(self.path)))
            if self.path == "/broken.csv":
                self.do_HEAD()
                self.wfile.write(b"path,label")
            else:
                super().do_GET()

        def do_HEAD(self):
            asked.append(("HEAD", unquote(self.path)))
            if self.path == "/broken.csv":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
            else:
                super().do_HEAD()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=local.parent))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


WANTED = ["gangue/3.png", "gangue/a+b 100%.png", "石墨 ore/deep/2.png", "石墨 ore/图 1.png"]


class TestFolders:
    def test_a_folder_is_read_as_if_it_lay_here(self, local, cache):
        in_memory()
        samples = Samples.read("memory://photos")
        here = Samples.read(local)
        columns = ["id", "label", "group", "split"]
        assert samples.table.select(columns).equals(here.table.select(columns))
        assert samples.table["id"].to_list() == WANTED
        for id_, path in samples.table.select("id", "path").iter_rows():
            assert Path(path).read_bytes() == FILES[id_]
            assert Path(path).is_relative_to(cache / "remote")
        assert samples.root.name == "photos"
        assert samples.notes[-1].startswith(
            "Read from memory://photos through a copy in the cache folder (5 files, 0.0 MiB)"
        )
        assert not list(cache.rglob("*.mp4"))
        assert not list(cache.rglob(".hidden"))
        assert Samples.read("memory://photos") == samples
        assert Samples.from_folder("memory://photos/") == samples

    def test_only_what_changed_is_brought_again(self, monkeypatch):
        memory = in_memory()
        first = Samples.read("memory://photos")
        brought = []
        get = type(memory).get_file
        monkeypatch.setattr(
            type(memory),
            "get_file",
            lambda self, path, *args, **more: brought.append(path) or get(self, path, *args, **more),
        )
        assert Samples.read("memory://photos") == first
        assert brought == []
        memory.pipe("/photos/gangue/3.png", picture(99))
        memory.pipe("/photos/gangue/4.png", picture(98))
        memory.rm("/photos/石墨 ore/deep/2.png")
        samples = Samples.read("memory://photos")
        assert sorted(brought) == ["/photos/gangue/3.png", "/photos/gangue/4.png"]
        assert Path(samples.table["path"][0]).read_bytes() == picture(99)
        assert len(samples) == 4
        assert not (samples.root / "石墨 ore" / "deep").exists()

    def test_a_file_that_was_spoilt_here_is_brought_again(self):
        in_memory()
        path = Path(Samples.read("memory://photos").table["path"][0])
        path.write_bytes(b"spoilt")
        Samples.read("memory://photos")
        assert path.read_bytes() == FILES["gangue/3.png"]

    def test_it_goes_on_after_a_stop_and_no_part_counts_as_whole(self, monkeypatch, cache):
        memory = in_memory()
        monkeypatch.setattr(remote_copy, "CONNECTIONS", 1)
        get, brought = type(memory).get_file, []

        def stops(self, path, to, **more):
            if len(brought) == 2:
                Path(to).write_bytes(b"half")
                raise KeyboardInterrupt
            brought.append(path)
            return get(self, path, to, **more)

        monkeypatch.setattr(type(memory), "get_file", stops)
        with pytest.raises(KeyboardInterrupt):
            Samples.read("memory://photos")
        record = next(cache.rglob("fetched.jsonl"))
        record.write_text(record.read_text() + '["gangue/3', encoding="utf-8")
        assert not [path for path in cache.rglob("*") if path.is_file() and path.read_bytes() == b"half"]
        left = []
        monkeypatch.setattr(
            type(memory),
            "get_file",
            lambda self, path, *args, **more: left.append(path) or get(self, path, *args, **more),
        )
        samples = Samples.read("memory://photos")
        assert samples.table["id"].to_list() == WANTED
        assert not set(left) & set(brought[:1])
        assert set(left) | set(brought) == {f"/photos/{name}" for name in [*WANTED, "notes.txt"]}

    def test_a_file_that_ends_early_is_told_and_not_kept(self, monkeypatch, cache):
        memory = in_memory()
        monkeypatch.setattr(type(memory), "get_file", lambda self, path, to, **_: Path(to).write_bytes(b"ha"))
        with pytest.raises(HandlensError, match=r"ended early: 2 of .*goes on where it stopped"):
            Samples.read("memory://photos")
        assert not list(cache.rglob("*.png"))

    def test_nothing_is_brought_to_a_full_disk(self, monkeypatch):
        in_memory()
        monkeypatch.setattr(remote_copy.shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
        with pytest.raises(HandlensError, match=r"memory://photos needs .*has 0\.0 MiB left.*HANDLENS_CACHE"):
            Samples.read("memory://photos")

    def test_formats_are_recognised(self):
        table = b"ImageId,ClassId,EncodedPixels\n1.jpg,3,1 2\n"
        in_memory(
            {"train.csv": table, "train_images/1.jpg": picture(), "train_images/2.jpg": picture()}, "steel"
        )
        assert Samples.read("memory://steel").classes == ("3", "none")
        assert Samples.from_severstal("memory://steel", label="state").classes == ("defective", "good")

    def test_names_that_lead_out_or_that_no_system_writes(self):
        in_memory({"a/1?.png": picture(), "a/1*.png": picture(), "b/CON.png": picture()}, "odd")
        ids = Samples.read("memory://odd").table["id"].to_list()
        assert ids == ["a/1_-2.png", "a/1_.png", "b/_CON.png"]
        memory = fsspec.filesystem("memory")
        memory.store["/bad/../../x.png"] = memory.store["/odd/b/CON.png"]
        with pytest.raises(HandlensError, match="a name that leads out of the folder"):
            Samples.read("memory://bad")

    def test_what_is_not_there(self):
        in_memory()
        with pytest.raises(HandlensError, match=r"There is nothing at memory://nowhere\. Check the spelling"):
            Samples.read("memory://nowhere")
        with pytest.raises(HandlensError, match=r"video\.mp4 is a file that cannot be read"):
            Samples.read("memory://photos/video.mp4")
        in_memory({"x.mp4": b"x"}, "films")
        with pytest.raises(HandlensError, match="There is no picture in memory://films"):
            Samples.read("memory://films")

    def test_an_error_names_the_address_of_the_copy(self):
        in_memory({"a/1.png": picture()}, "one")
        with pytest.raises(
            HandlensError, match=r"only one class(.|\n)*is the copy of memory://one in the cache"
        ):
            Samples.read("memory://one")

    def test_file_addresses_are_read_where_they_lie(self, local):
        samples = Samples.read(f"file://{local}")
        assert samples == Samples.read(local)
        assert samples.root == local


class TestTables:
    def test_a_table_there_with_paths_from_it(self):
        lines = ["path,label,split", "石墨 ore/图 1.png,ore,train", "gangue\\3.png,gangue,train"]
        lines += ["../elsewhere/9.png,ore,test", "memory://bucket/8.png,gangue,test"]
        in_memory(FILES | {"labels.csv": "\n".join(lines).encode()}, "lab/photos")
        in_memory({"9.png": picture(9)}, "lab/elsewhere")
        in_memory({"8.png": picture(8)}, "bucket")
        samples = Samples.read("memory://lab/photos/labels.csv")
        assert samples.table.select("id", "label", "split").rows() == [
            ("石墨 ore/图 1.png", "ore", "train"),
            ("gangue/3.png", "gangue", "train"),
            ("lab/elsewhere/9.png", "ore", "test"),
            ("bucket/8.png", "gangue", "test"),
        ]
        assert Path(samples.table["path"][2]).read_bytes() == picture(9)
        assert samples.root.name == "photos"
        assert samples.notes[-1].startswith("Read from memory://lab/photos/labels.csv")
        assert Samples.from_table("memory://lab/photos/labels.csv").table.equals(samples.table)

    def test_a_table_here_with_addresses(self, tmp_path):
        in_memory()
        table = tmp_path / "lab" / "t.parquet"
        table.parent.mkdir()
        pl.DataFrame(
            {
                "path": ["memory://photos/gangue/3.png", "memory://photos/石墨 ore/图 1.png"],
                "label": ["a", "b"],
            }
        ).write_parquet(table)
        samples = Samples.read(table)
        assert samples.table["id"].to_list() == ["photos/gangue/3.png", "photos/石墨 ore/图 1.png"]
        assert samples.root.name == "lab"
        # A manifest of them is read again as long as the copy is there.
        samples.save(tmp_path / "m.csv")
        assert Samples.read(tmp_path / "m.csv").table.equals(samples.table)

    def test_pictures_that_are_not_there_are_told_by_row(self):
        memory = in_memory(FILES | {"t.csv": b"path,label\ngangue/3.png,a\nno.png,b\ngangue/gone.png,b\n"})
        with pytest.raises(
            HandlensError, match=r"rows 3, 4: .*no\.png.*from the folder of the table, memory://photos"
        ):
            Samples.read("memory://photos/t.csv")
        memory.pipe("/photos/no.png", picture())
        memory.pipe("/photos/gangue/gone.png", picture())
        assert len(Samples.read("memory://photos/t.csv")) == 3
        memory.rm("/photos/no.png")
        with pytest.raises(HandlensError, match="row 3: there is no such file"):
            Samples.read("memory://photos/t.csv")

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("/etc/passwd", "a place on this machine"),
            ("C:\\a.png", "a place on this machine"),
            ("file:///etc/passwd", "a place on this machine"),
            ("../../../etc/passwd", "which leads out of"),
        ],
    )
    def test_a_table_there_names_nothing_here(self, cell, message):
        in_memory({"t.csv": f"path,label\n{cell},a\n1.png,b\n".encode(), "1.png": picture()}, "x/y")
        with pytest.raises(HandlensError, match=message):
            Samples.read("memory://x/y/t.csv")

    def test_addresses_and_paths_are_not_mixed(self, tmp_path):
        (tmp_path / "t.csv").write_text("path,label\nmemory://a/1.png,a\n1.png,b\n")
        with pytest.raises(HandlensError, match="names both addresses and paths on this machine"):
            Samples.read(tmp_path / "t.csv")

    def test_a_manifest_there_is_refused(self, local, tmp_path):
        Samples.read(local).save(tmp_path / "m.csv")
        in_memory({"m.csv": (tmp_path / "m.csv").read_bytes()})
        with pytest.raises(HandlensError, match="is a manifest, which is read where its pictures are"):
            Samples.read("memory://photos/m.csv")


class TestWeb:
    def test_a_folder_that_lists_its_files(self, web, local):
        address, asked = web
        samples = Samples.read(f"{address}/my photos")
        assert samples.table["id"].to_list() == WANTED
        assert samples.table["label"].to_list() == Samples.read(local).table["label"].to_list()
        for id_, path in samples.table.select("id", "path").iter_rows():
            assert Path(path).read_bytes() == FILES[id_]
        assert samples.root.name == "my photos"
        asked.clear()
        assert Samples.read(f"{address}/my photos/") == samples
        assert not [path for kind, path in asked if kind == "GET" and path.endswith(".png")]

    def test_a_change_is_seen(self, web, local):
        address, _ = web
        Samples.read(f"{address}/my photos")
        changed = local / "gangue" / "3.png"
        changed.write_bytes(picture(200))
        os.utime(changed, (2e9, 2e9))
        samples = Samples.read(f"{address}/my photos")
        assert Path(samples.table["path"][0]).read_bytes() == picture(200)

    def test_a_table_and_an_archive(self, web, local):
        address, _ = web
        (local / "t.csv").write_text(
            "path,label\n石墨 ore/图 1.png,a\ngangue/3.png?sig=abc,b\n", encoding="utf-8"
        )
        samples = Samples.read(f"{address}/my photos/t.csv?token=secret")
        assert samples.table["id"].to_list() == ["石墨 ore/图 1.png", "gangue/3.png"]
        assert "secret" not in str(samples.notes)
        with zipfile.ZipFile(local / "all.zip", "w") as archive:
            for name in WANTED:
                archive.writestr(f"top/{name}", FILES[name])
        for text in (f"{address}/my photos/all.zip", f"zip://top::{address}/my photos/all.zip"):
            assert Samples.read(text).table["id"].to_list() == WANTED

    def test_what_is_not_there_and_nobody_who_answers(self, web):
        address, _ = web
        with pytest.raises(HandlensError, match="There is nothing at"):
            Samples.read(f"{address}/none/t.csv")
        with pytest.raises(HandlensError, match=r"could not be read \(.*Check the address, the network"):
            Samples.read("http://127.0.0.1:9/t.csv")

    def test_an_answer_that_breaks_off(self, web, cache):
        address, _ = web
        with pytest.raises(HandlensError, match=r"could not be read|ended early"):
            Samples.read(f"{address}/broken.csv")
        assert not list(cache.rglob("*.csv"))


def zipped(path, files, links=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


def tarred(path, files, **kinds):
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return path


class TestArchives:
    @pytest.mark.parametrize("name", ["my photos.zip", "my photos.tar.gz", "x.tar", "y.tar.xz"])
    def test_an_archive_is_read_like_its_folder(self, tmp_path, name, local):
        pack = zipped if name.endswith("zip") else tarred
        pack(
            tmp_path / name,
            {f"./top/{each}" if "tar" in name else f"top/{each}": data for each, data in FILES.items()},
        )
        protocol = "zip" if name.endswith("zip") else "tar"
        samples = Samples.read(f"{protocol}://::file://{tmp_path / name}")
        assert samples.table["id"].to_list() == WANTED
        assert samples.root.name == "top"
        for id_, path in samples.table.select("id", "path").iter_rows():
            assert Path(path).read_bytes() == FILES[id_]
        again = Samples.read(f"file://{tmp_path / name}")
        assert again.table.equals(samples.table)
        inner = Samples.read(f"{protocol}://top::{tmp_path / name}")
        assert inner.table.equals(samples.table)
        with pytest.raises(HandlensError, match=r"There is no 'other' with pictures"):
            Samples.read(f"{protocol}://other::{tmp_path / name}")

    def test_a_table_inside(self, tmp_path):
        files = {"a/1.png": picture(1), "a/2.png": picture(2), "a/t.csv": b"path,label\n1.png,x\n2.png,y\n"}
        samples = Samples.read(f"zip://a/t.csv::file://{zipped(tmp_path / 't.zip', files)}")
        assert samples.table.select("id", "label").rows() == [("1.png", "x"), ("2.png", "y")]

    @pytest.mark.parametrize("mask", ["{here}/m.png", "../../../../../{name}/m.png", "x/../../../m.png"])
    @pytest.mark.parametrize("manifest", [False, True])
    def test_no_mask_leads_out_of_the_copy(self, tmp_path, mask, manifest):
        mask = mask.format(here=tmp_path, name=tmp_path.name)
        lay(tmp_path / "t", {"a/1.png": picture(1), "b/2.png": picture(2)})
        samples = Samples.read(tmp_path / "t")
        samples = samples.with_table(samples.table.with_columns(mask=pl.lit(mask)))
        if manifest:
            samples.save(tmp_path / "t" / "samples.csv", together=True)
        else:
            samples.to_table(tmp_path / "t" / "samples.csv")
        # On this machine it may point where it likes.
        assert Samples.read(tmp_path / "t" / "samples.csv").table["mask"].to_list() == [mask] * 2
        files = {
            path.relative_to(tmp_path).as_posix(): path.read_bytes()
            for path in (tmp_path / "t").rglob("*")
            if path.is_file()
        }
        packed = zipped(tmp_path / "t.zip", files)
        inside = "t" if manifest else "t/samples.csv"
        with pytest.raises(HandlensError, match=r"'mask' leads out of what was fetched .*m\.png\)"):
            Samples.read(f"zip://{inside}::file://{packed}")

    def test_a_mask_beside_the_table_stays(self, tmp_path):
        table = b"path,label,mask\n../p/1.png,x,../m/1.png\n../p/2.png,y,\n"
        files = {"p/1.png": picture(1), "p/2.png": picture(2), "m/1.png": picture(3), "t/t.csv": table}
        samples = Samples.read(f"zip://t/t.csv::file://{zipped(tmp_path / 't.zip', files)}")
        assert samples.table["mask"].to_list() == ["../m/1.png", None]
        assert (samples.root / "../m/1.png").read_bytes() == picture(3)

    def test_another_archive_under_the_same_name(self, tmp_path):
        path = tmp_path / "p.zip"
        zipped(path, {"a/1.png": picture(1), "b/1.png": picture(2)})
        assert Samples.read(f"zip://::{path}").classes == ("a", "b")
        zipped(path, {"a/1.png": picture(3), "c/1.png": picture(4)})
        samples = Samples.read(f"zip://::{path}")
        assert samples.classes == ("a", "c")
        assert Path(samples.table["path"][0]).read_bytes() == picture(3)

    def test_an_archive_in_memory(self, tmp_path):
        zipped(tmp_path / "p.zip", {"a/1.png": picture(1), "b/1.png": picture(2)})
        in_memory({"p.zip": (tmp_path / "p.zip").read_bytes()}, "up")
        assert Samples.read("memory://up/p.zip").classes == ("a", "b")
        assert Samples.read("zip://::memory://up/p.zip").classes == ("a", "b")

    @pytest.mark.parametrize(
        "name", ["../out.png", "/abs.png", "a/../../out.png", "..\\out.png", "C:\\out.png"]
    )
    def test_names_that_lead_out_unpack_nothing(self, tmp_path, name, cache):
        good = {"a/1.png": picture(), "b/1.png": picture()}
        with pytest.raises(HandlensError, match=r"leads out of the folder it is unpacked to\. Nothing was"):
            Samples.read(f"zip://::{zipped(tmp_path / 'p.zip', {**good, name: b'x'})}")
        with pytest.raises(HandlensError, match="leads out of the folder it is unpacked to"):
            Samples.read(f"tar://::{tarred(tmp_path / 'p.tar', {**good, name: b'x'})}")
        assert not list(cache.rglob("*.png"))
        assert not (tmp_path / "out.png").exists()

    def test_links_and_devices(self, tmp_path):
        good = {"a/1.png": picture(), "b/1.png": picture()}
        with pytest.raises(HandlensError, match=r"holds the link 'a/l\.png'"):
            Samples.read(f"zip://::{zipped(tmp_path / 'p.zip', good, ['a/l.png'])}")
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            with pytest.raises(HandlensError, match=r"holds the link 'l\.png'"):
                Samples.read(f"tar://::{tarred(tmp_path / 'p.tar', good, **{'l.png': kind})}")
        with pytest.raises(HandlensError, match="a device or the like"):
            Samples.read(f"tar://::{tarred(tmp_path / 'p.tar', good, **{'d.png': tarfile.FIFOTYPE})}")

    def test_archives_that_will_not_do(self, tmp_path):
        path = zipped(tmp_path / "p.zip", {"a/1.png": picture() * 50, "b/1.png": picture()})
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(HandlensError, match=r"p\.zip is damaged or not whole"):
            Samples.read(f"zip://::{path}")
        torn = tarred(tmp_path / "p.tar.gz", {"a/1.png": os.urandom(100_000)})
        torn.write_bytes(torn.read_bytes()[:50_000])
        with pytest.raises(HandlensError, match="is damaged or not whole"):
            Samples.read(f"tar://::{torn}")
        with pytest.raises(HandlensError, match=r"There is no file .*none\.zip"):
            Samples.read(f"zip://::{tmp_path / 'none.zip'}")
        with pytest.raises(HandlensError, match="does not say in which archive"):
            Samples.read("zip://a")
        with pytest.raises(HandlensError, match="There is no picture in"):
            Samples.read(f"zip://::{zipped(tmp_path / 'e.zip', {'a.doc': b'x'})}")
        with pytest.raises(HandlensError, match=r"is an archive. Unpack it, or give it as zip://::"):
            Samples.read(zipped(tmp_path / "z.zip", {"a/1.png": picture()}))

    def test_a_file_with_a_wrong_checksum(self, tmp_path):
        path = tmp_path / "p.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/1.png", picture())
            archive.writestr("b/1.png", picture(1))
        data = bytearray(path.read_bytes())
        data[data.index(b"IDAT") + 5] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(HandlensError, match="is damaged or not whole"):
            Samples.read(f"zip://::{path}")

    @pytest.mark.parametrize("letters", ["gb18030", "utf-8"])
    def test_names_that_do_not_say_their_letters(self, tmp_path, letters):
        """As Windows in China and macOS write them: bytes, and no flag."""
        path = tmp_path / "p.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("石墨/图片.png", "脉石/图片.png"):
                info = Unflagged(name.encode(letters).decode("cp437"))
                archive.writestr(info, picture())
        assert Samples.read(f"zip://::{path}").table["id"].to_list() == ["石墨/图片.png", "脉石/图片.png"]


class Unflagged(zipfile.ZipInfo):
    """Writes its name in the letters of old systems, without the flag of UTF-8."""

    __slots__ = ()

    def _encodeFilenameFlags(self):
        return self.filename.encode("cp437"), self.flag_bits & ~0x800


class TestNothingHereIsNamedFromElsewhere:
    def test_by_a_table_in_an_archive(self, tmp_path, local):
        table = f"path,label\n{local}/gangue/3.png,a\n1.png,b\n".encode()
        path = zipped(tmp_path / "p.zip", {"t.csv": table, "1.png": picture()})
        with pytest.raises(HandlensError, match=r"names places on this machine \(.*gangue/3\.png"):
            Samples.read(f"zip://t.csv::{path}")

    def test_by_a_manifest(self, local, tmp_path):
        Samples.read(local).save(local / "samples.csv")
        files = {
            path.relative_to(local).as_posix(): path.read_bytes()
            for path in local.rglob("*")
            if path.is_file()
        }
        in_memory(files, "up")
        samples = Samples.read("memory://up")
        assert samples.root.is_relative_to(tmp_path / "cache")
        assert samples.table["id"].to_list() == Samples.read(local).table["id"].to_list()
        text = (
            files["samples.csv"]
            .decode()
            .replace('""root_from_here"": "".""', '""root_from_here"": ""../../..""')
        )
        assert text != files["samples.csv"].decode()
        fsspec.filesystem("memory").pipe("/up/samples.csv", text.encode())
        with pytest.raises(HandlensError, match=r"pictures of .* are not there"):
            Samples.read("memory://up")
        absolute = text.replace("gangue/3.png", f"{local}/gangue/3.png")
        kept = [
            line
            for line in absolute.splitlines()
            if "," not in line or line.startswith(('"', "path", str(local)))
        ]
        fsspec.filesystem("memory").pipe("/up/samples.csv", "\n".join(kept).encode())
        with pytest.raises(HandlensError, match="names places on this machine"):
            Samples.read("memory://up")


class TestOffline:
    def test_what_needs_a_network_is_refused(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HANDLENS_OFFLINE", "1")
        for address in ("s3://bucket/photos", "https://u:pw@host/t.csv?sig=1", "zip://a::https://host/p.zip"):
            with pytest.raises(HandlensError, match="HANDLENS_OFFLINE forbids to fetch it") as error:
                Samples.read(address)
            assert "pw" not in str(error.value)
            assert "sig" not in str(error.value)
        (tmp_path / "t.csv").write_text("path,label\nhttps://host/1.png,a\nhttps://host/2.png,b\n")
        with pytest.raises(HandlensError, match="forbids to fetch it"):
            Samples.read(tmp_path / "t.csv")

    def test_what_needs_none_is_read(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HANDLENS_OFFLINE", "1")
        in_memory()
        assert len(Samples.read("memory://photos")) == 4
        path = zipped(tmp_path / "p.zip", {"a/1.png": picture(), "b/1.png": picture()})
        assert len(Samples.read(f"zip://::{path}")) == 2


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("s3://b/x", True),
            ("HTTPS://h/x", True),
            ("zip://a::https://h/x.zip", True),
            ("simplecache::s3://b/x", True),
            ("C:\\photos", False),
            ("c://photos", False),
            ("photos/a", False),
            ("a::b.png", False),
            ("/s3://x", False),
            ("图://x", False),
        ],
    )
    def test_what_is_an_address(self, text, expected):
        assert addresses.is_address(text) is expected

    def test_an_address_that_became_a_path_is_told(self):
        with pytest.raises(HandlensError, match=r"s3:/bucket/x was an address before it became a path"):
            Samples.read(Path("s3://bucket/x"))

    def test_unknown_protocols_and_missing_packages(self):
        with pytest.raises(HandlensError, match=r"nope://x could not be read \(.*[Pp]rotocol not known"):
            Samples.read("nope://x")
        with pytest.raises(
            HandlensError, match=r"needs a package that is not installed.*Install it with pip"
        ):
            Samples.read("dropbox://x/t.csv")

    def test_no_secret_is_told(self):
        told = addresses.text_without_secrets("see https://me:word@h.org/a.csv?sig=1&b=2, or s3://key:s@b/x")
        assert told == "see https://h.org/a.csv or s3://b/x"

    def test_a_place_is_the_same_whoever_signed_for_it(self):
        one = addresses.place_of("https://u:p@h/a.zip?X-Amz-Signature=1&id=5&X-Amz-Date=2")
        assert one == addresses.place_of("https://h/a.zip?id=5&X-Amz-Signature=9")
        assert one != addresses.place_of("https://h/a.zip?id=6")
        assert addresses.place_of("https://h/a?sv=1&sig=2&se=3") == "https://h/a"
        assert addresses.place_of("https://h/a?sv=1") == "https://h/a?sv=1"

    def test_the_copy_does_not_depend_on_where_the_cache_is(self, monkeypatch, tmp_path):
        in_memory()
        first = Samples.read("memory://photos")
        monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "another"))
        second = Samples.read("memory://photos")
        assert first.root != second.root
        assert first.table.drop("path").equals(second.table.drop("path"))
        assert first.notes == second.notes

    def test_fetched_says_where_the_copy_is(self):
        in_memory()
        fetched = fetch("memory://photos")
        assert sorted(path.name for path in fetched.path.rglob("*.png")) == sorted(
            Path(name).name for name in WANTED
        )
        record = fetched.path.parent / "fetched.jsonl"
        assert {json.loads(line)[0] for line in record.read_text(encoding="utf-8").splitlines() if line} == {
            *WANTED,
            "notes.txt",
        }
