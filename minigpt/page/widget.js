// The page in a notebook: a frame whose questions go to the kernel. It hides the static picture of the same steps, which
// stands above it, as soon as the frame works. In a browser that cannot show the page, a sentence takes its place.

function render({ model, el }) {
  // Several views of one widget share its messages: each knows its own by this key.
  const key = Math.random().toString(36).slice(2);
  const frame = document.createElement("iframe");
  frame.title = "minigpt: step through GPT-2";
  frame.setAttribute("sandbox", "allow-scripts"); // no access to the notebook
  frame.style.cssText = "box-sizing:border-box; width:100%; height:720px; border:1px solid #8884; border-radius:4px";
  const wait = () => Object.assign(frame.style, { position: "absolute", visibility: "hidden" });
  const showPage = () => {
    Object.assign(frame.style, { position: "", visibility: "" });
    const picture = document.getElementById(model.get("picture_id"));
    if (picture) picture.style.display = "none";
  };

  const onMessage = (content, buffers) => {
    const [view, id] = content.id ?? [];
    if (view !== key) return;
    const bytes = buffers[0];
    if (id === "page") {
      frame.srcdoc = new TextDecoder().decode(bytes);
      el.append(frame);
    } else if (content.error) {
      frame.contentWindow?.postMessage({ id, error: content.error }, "*");
    } else {
      const answer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
      frame.contentWindow?.postMessage({ id, answer }, "*", [answer]);
    }
  };
  const onQuestion = (event) => {
    if (event.source !== frame.contentWindow) return;
    if (event.data?.obstacle) el.replaceChildren(event.data.obstacle); // as text; the static picture stays
    if (!event.data?.question) return;
    showPage(); // its scripts run
    model.send({ id: [key, event.data.id], question: event.data.question });
  };

  wait();
  model.on("msg:custom", onMessage);
  addEventListener("message", onQuestion);
  model.send({ id: [key, "page"], question: { ask: "page" } });
  return () => {
    model.off("msg:custom", onMessage);
    removeEventListener("message", onQuestion);
  };
}

export default { render };
