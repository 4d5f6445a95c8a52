"""Read the files of a zip archive that a student handed in, without writing anything."""

import zipfile
from pathlib import PurePosixPath, PureWindowsPath

# Archives of other kinds are named in the grade, so that somebody unpacks them.
OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")


def read_zip(path, is_wanted, max_files, max_bytes):
    """Return {path within the archive: bytes} of its files for which is_wanted(path) is true.

    Links, absolute paths (Windows' too) and paths with ".." are left out. Raise ValueError with a sentence for what is
    no zip archive, is encrypted, or has more than max_files of these files or max_bytes of them altogether.
    """
    files, bytes_left = {}, max_bytes
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                inside = PureWindowsPath(member.filename)  # its parts end at / and at \
                name = PurePosixPath(*inside.parts)
                is_link = member.external_attr >> 16 & 0o170000 == 0o120000
                if member.is_dir() or is_link or inside.anchor or ".." in inside.parts or not is_wanted(name):
                    continue
                if len(files) == max_files:
                    raise ValueError(f"it has more than {max_files} files")
                with archive.open(member) as file:
                    content = file.read(bytes_left + 1)  # what the archive says of the size may be wrong
                bytes_left -= len(content)
                if bytes_left < 0:
                    raise ValueError(f"its files have more than {max_bytes:,} bytes")
                files[name] = content
    except ValueError:
        raise
    except Exception as error:  # every way of compressing has errors of its own
        raise ValueError(f"{error or 'it is damaged'}") from error
    return files
