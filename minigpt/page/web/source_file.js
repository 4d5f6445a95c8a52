// The numbers of a self-contained file.
export class FileSource {
  static async open() {
    throw new Error("not written yet");
  }
}
