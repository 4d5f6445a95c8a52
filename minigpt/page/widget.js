// The page in a notebook: a frame whose questions go to the kernel. Until the frame works, and where there is no kernel
// any more (a notebook that was opened again), the static picture of the same steps stands in its place.

const PATIENCE = 400; // milliseconds before the picture is shown: with a kernel, the page is there by then

function render({ model, el }) {
  // Several views of one widget share its messages: each knows its own by this key.
  const key = Math.random().toString(36).slice(2);
  const picture = document.createElement("div");
  const frame = document.createElement("iframe");
  frame.title = "minigpt: step through GPT-2";
  frame.setAttribute("sandbox", "allow-scripts"); // no access to the notebook
  frame.style.cssText = "display:block; width:100%; height:720px; border:1px solid #8884; border-radius:4px";
  const timer = setTimeout(() => {
    picture.innerHTML = model.get("picture"); // made by Steps._repr_html_, which escapes all texts
  }, PATIENCE);

  const onMessage = (content, buffers) => {
    const [view, id] = content.id ?? [];
    if (view !== key) return;
    const bytes = buffers[0];
    if (id === "page") {
      frame.srcdoc = new TextDecoder().decode(bytes);
      frame.style.cssText += "; position:absolute; visibility:hidden"; // until it asks its first question
      el.append(frame);
    } else if (content.error) {
      frame.contentWindow?.postMessage({ id, error: content.error }, "*");
    } else {
      const answer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
      frame.contentWindow?.postMessage({ id, answer }, "*", [answer]);
    }
  };
  const onQuestion = (event) => {
    if (event.source !== frame.contentWindow || !event.data?.question) return;
    clearTimeout(timer);
    picture.remove();
    frame.style.position = frame.style.visibility = "";
    model.send({ id: [key, event.data.id], question: event.data.question });
  };

  el.append(picture);
  model.on("msg:custom", onMessage);
  addEventListener("message", onQuestion);
  model.send({ id: [key, "page"], question: { ask: "page" } });
  return () => {
    clearTimeout(timer);
    model.off("msg:custom", onMessage);
    removeEventListener("message", onQuestion);
  };
}

export default { render };
