"""rclone's onedrive backend reads a library, and compares each file's hash itself."""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import tasks

FOLDER = "BI Import"
world = tasks.WORLD
work = Path(os.environ["CLIENT_FOLDER"]) / "rclone"
work.mkdir()


def ask(url, data=None, token=None):
    request = urllib.request.Request(url, data and urllib.parse.urlencode(data).encode())
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


RCLONE = str(Path(sys.executable).with_name("rclone"))


def rclone(*arguments):
    command = [RCLONE, "--config", str(work / "rclone.conf"), "--retries", "1", "--low-level-retries", "3", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-600:])
    return done.stdout


def configure():
    # rclone signs in by itself; only the drive's id is looked up for it.
    answer = ask(f"{world['authority_url']}/{world['tenant_id']}/oauth2/v2.0/token", {
        "grant_type": "client_credentials", "client_id": world["client_id"],
        "client_secret": world["client_secret"], "scope": f"{world['graph_url']}/.default"})
    site = world["brands"]["harbor"]["site"]
    drive = ask(f"{world['graph_url']}/v1.0/sites/example.sharepoint.com:/{site}:/drive", token=answer["access_token"])
    (work / "rclone.conf").touch(0o600)
    (work / "rclone.conf").write_text(
        f"[stand]\ntype = onedrive\ndrive_id = {drive['id']}\ndrive_type = {drive['driveType']}\n"
        f"client_credentials = true\ntenant = {world['tenant_id']}\nclient_id = {world['client_id']}\n"
        f"client_secret = {world['client_secret']}\n")
    return rclone("version").splitlines()[0]


def listing():
    found = json.loads(rclone("lsjson", "--recursive", "--hash", "stand:"))
    tasks.WORLD["files"] = {item["Path"]: item for item in found if not item["IsDir"]}
    folders = sum(item["IsDir"] for item in found)
    return f"{len(tasks.WORLD['files'])} files, {folders} folders"


def paths(*arguments):
    found = json.loads(rclone("lsjson", "--recursive", "--files-only", *arguments, "stand:"))
    return sorted(item["Path"] for item in found)


def paging():
    tasks.expect("files", paths("--onedrive-list-chunk", "3"), sorted(tasks.WORLD["files"]))


def by_feed():
    tasks.expect("files", paths("--fast-list", "--onedrive-delta", "--onedrive-list-chunk", "3"),
                 sorted(tasks.WORLD["files"]))


def copy():
    rclone("copy", "stand:", str(work / "copy"), "--transfers", "4")
    for path, item in tasks.WORLD["files"].items():
        tasks.expect(f"the size of {path}", (work / "copy" / path).stat().st_size, item["Size"])
    return f"{len(tasks.WORLD['files'])} files, hashes compared by rclone while copying"


def check():
    said = rclone("check", "stand:", str(work / "copy"), "--one-way", "--combined", "-")
    tasks.expect("what differs", [line for line in said.splitlines() if not line.startswith("=")], [])
    return f"{len(said.splitlines())} files by quickXorHash"


def move():
    path = next(path for path in sorted(tasks.WORLD["files"]) if path.startswith(f"{FOLDER}/"))
    rclone("mkdir", "stand:Moved by rclone")
    rclone("moveto", f"stand:{path}", f"stand:Moved by rclone/{Path(path).name}")
    found = json.loads(rclone("lsjson", "stand:Moved by rclone"))
    tasks.expect("what lies there", [item["Name"] for item in found], [Path(path).name])


def upload():
    (work / "new.csv").write_text("a,b\n1,2\n")
    try:
        rclone("copyto", str(work / "new.csv"), f"stand:{FOLDER}/new.csv")
        tasks.done("upload a file")
    except RuntimeError as error:
        tasks.cannot("upload a file", f"the stand-in takes none over the wire: {str(error).splitlines()[-1]}")


tasks.attempt("sign in and find the library", configure)
tasks.attempt("list everything with hashes", listing)
tasks.attempt("list it by pages of three", paging)
tasks.attempt("list it by the feed of changes", by_feed)
tasks.attempt("copy everything", copy)
tasks.attempt("compare the copy with the library", check)
tasks.attempt("make a folder and move a file there", move)
upload()
tasks.end()
