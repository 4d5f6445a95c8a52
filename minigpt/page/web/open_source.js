// Which source this page has: data in the file itself, the kernel of a notebook, or the server.

import { FrameSource, HttpSource } from "./source.js";
import { FileSource } from "./source_file.js";

export async function openSource() {
  if (document.getElementById("data")) return FileSource.open();
  return document.documentElement.dataset.source === "frame" ? new FrameSource() : new HttpSource();
}
