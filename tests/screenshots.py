"""Draw pictures of the page from the page itself:  python tests/screenshots.py

Without an option it draws the pictures of the README into .github/pictures/. With --all FOLDER it draws every view into
a folder, to look at: light, dark, and as on a projector at 200 %.
"""

import argparse
import io
from pathlib import Path

from browser_helpers import DESKTOP, PHONE, PROJECTOR, VIEWS, Tab, chromium, serve_in_thread

PICTURES = Path(__file__).parent.parent / ".github" / "pictures"
MAX_BYTES = 150_000  # of a picture in the README
TEXT = "Once upon a time there was a little girl called Julia. She lived with"
# Name: the place, the number that is asked, the size of the window, pixels for each of the page's, and the first and the
# last part that the picture shows.
PARTS = {
    "why": ({"view": "attention", "layer": 3, "head": 3}, ("h.3.attn.scores", (3, 14, 8)), (1366, 740), 2, ("#panel",)),
    "attention": (
        {"view": "attention", "layer": 3, "head": 3},
        None,
        (1060, 1000),
        2,
        (".gallery", ".attention-matrix .stages"),
    ),
    "next": ({"view": "next", "token": 6}, None, (1060, 1100), 2, (".sampling", ".next-bars tbody tr:nth-child(9)")),
}
SLIDERS = {"temperature": "1.3", "top_p": "0.9"}  # of the picture "next"
SIZES = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "projector": (PROJECTOR, "light"),
    "phone": (PHONE, "light"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="draw every view into this folder instead")
    folder = parser.parse_args().all

    from minigpt import GPT2, Tokenizer
    from minigpt.bundled import DEFAULT_MODEL

    address = serve_in_thread(GPT2.from_pretrained(DEFAULT_MODEL), Tokenizer.from_pretrained(DEFAULT_MODEL), TEXT)
    with chromium() as browser:
        if folder:
            draw_all(browser, address, folder)
        else:
            draw_readme(browser, address)


def draw_readme(browser, address):
    """Draw the pictures of the READMEs: light, and sharp on any screen."""
    PICTURES.mkdir(exist_ok=True)
    draw_page(browser, address)
    for name, (place, asked, size, scale, selectors) in PARTS.items():
        tab = Tab(browser, address, size=size, color_scheme="light", device_scale_factor=scale)
        tab.go(**place)
        if asked:
            tab.why(asked[0], *asked[1])
        if place["view"] == "next":
            for slider, value in SLIDERS.items():
                tab.page.fill(f"#{slider}", value)
        tab.leave_field().settled().page.mouse.move(0, 0)
        save(tab, name, frame_around(tab, selectors, size))


def draw_page(browser, address):
    """Draw the whole model, and in the panel the word that the next one came from."""
    tab = Tab(browser, address, size=DESKTOP, color_scheme="light", device_scale_factor=1.5)
    tab.click(".next-box .candidate")
    tab.page.locator(".causes.apart").wait_for()
    tab.leave_field().settled().page.mouse.move(0, 0)
    # The panel goes on below what the picture is about.
    ends = (tab.page.locator(selector).bounding_box() for selector in (".causes.apart", ".overview .whole"))
    bottom = max(box["y"] + box["height"] for box in ends) + 4
    save(tab, "page", {"x": 0, "y": 0, "width": DESKTOP[0], "height": bottom})


def save(tab, name, clip):
    """Write a part of the window into a file, and close the tab."""
    picture = small_png(tab.page.screenshot(clip=clip, animations="disabled"))
    tab.close()
    (PICTURES / f"{name}.png").write_bytes(picture)
    print(f"{name}.png: {len(picture) / 1000:.0f} kB")
    if len(picture) > MAX_BYTES:
        raise SystemExit(f"{name}.png has more than {MAX_BYTES / 1000:.0f} kB: show less of the page")


def frame_around(tab, selectors, size):
    """Return the part of the window that has these elements, with a small margin, and not the status line."""
    boxes = [tab.page.locator(selector).first.bounding_box() for selector in selectors]
    status = tab.page.locator("#status").bounding_box()
    left, top = (max(0, min(box[side] for box in boxes) - 8) for side in ("x", "y"))
    right = min(size[0], max(box["x"] + box["width"] for box in boxes) + 8)
    bottom = min(status["y"], max(box["y"] + box["height"] for box in boxes) + 8)
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def small_png(picture):
    """Return a PNG with a palette of 64 colours, a quarter of the size: the page has few colours."""
    from PIL import Image

    output = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    # k-means moves the colours into place, so that rare ones, such as those of the chosen row, are right, too.
    few = image.quantize(64, method=Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    few.save(output, "PNG", optimize=True)
    return output.getvalue()


def draw_all(browser, address, folder):
    """Draw every view in every size, in full length."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, (size, scheme) in SIZES.items():
        tab = Tab(browser, address, size=size, color_scheme=scheme)
        for view in VIEWS:
            tab.go(view)
            tab.page.screenshot(path=folder / f"{view}-{kind}.png", full_page=True, animations="disabled")
        tab.why("h.2.attn.scores", 1, 9, 7)
        tab.page.screenshot(path=folder / f"why-{kind}.png", animations="disabled")
        tab.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
