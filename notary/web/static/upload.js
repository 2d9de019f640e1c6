// Sends the hand-in form with a progress bar that can be cancelled. Without this script the form
// sends itself. Every word comes from the page.
"use strict";
for (const form of document.querySelectorAll("form[data-upload]")) prepare(form);

function prepare(form) {
  const words = form.dataset;
  const file = form.querySelector("input[type=file]");
  const send = form.querySelector("button:not([type])");
  const cancel = form.querySelector("[data-cancel]");
  const box = form.querySelector("[data-progress]");
  const bar = box.querySelector("progress");
  const status = form.querySelector("[data-status]");
  const main = document.querySelector("main");
  let running = null;
  let key = null;

  // Trying again after a broken connection must not register the file twice; another choice is
  // another request.
  form.addEventListener("input", () => { key = null; });
  cancel.addEventListener("click", () => running && running.abort());
  addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) return;
    clear();
    if (file.files[0] && file.files[0].size > Number(words.limit)) {
      complain(words.tooLarge, "");
      return;
    }
    key = key || random();
    running = new XMLHttpRequest();
    running.open("POST", form.action);
    running.responseType = "document";
    running.setRequestHeader("Accept", "text/html");
    running.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    running.setRequestHeader("Idempotency-Key", key);
    watch(running);
    running.send(new FormData(form));
    busy(true);
  });

  function watch(request) {
    let told = -1;
    request.upload.addEventListener("progress", (event) => {
      const percent = event.lengthComputable ? Math.floor(100 * event.loaded / event.total) : 0;
      bar.value = percent;
      if (percent >= told + 10 || percent === 100) {
        told = percent;
        status.textContent = percent === 100 ? words.storing : words.sending.replace("{percent}", percent);
      }
    });
    request.addEventListener("load", () => finished(request));
    request.addEventListener("error", () => { busy(false); complain(words.broken, ""); });
    request.addEventListener("abort", () => { busy(false); status.textContent = words.cancelled; send.focus(); });
  }

  function finished(request) {
    busy(false);
    const location = request.getResponseHeader("Location");
    if (request.status === 201 && location) {
      status.textContent = words.done;
      window.location.assign(location);
      return;
    }
    const title = request.response && request.response.querySelector("[data-problem]");
    const detail = request.response && request.response.querySelector("[data-detail]");
    complain(title ? title.textContent : words.broken, detail ? detail.textContent : "");
    // The service has settled this request: the next try is another one.
    if (request.status < 500) key = null;
  }

  function busy(yes) {
    if (!yes) running = null;
    send.disabled = yes;
    cancel.hidden = box.hidden = !yes;
    bar.value = 0;
    if (yes) { status.textContent = words.sending.replace("{percent}", 0); cancel.focus(); }
  }

  function clear() {
    status.textContent = "";
    for (const old of main.querySelectorAll(".problem")) old.remove();
  }

  function complain(text, more) {
    clear();
    const problem = document.createElement("div");
    const title = document.createElement("h3");
    problem.className = "problem";
    problem.setAttribute("role", "alert");
    problem.tabIndex = -1;
    title.textContent = text;
    problem.append(title);
    if (more) {
      const detail = document.createElement("p");
      detail.className = "detail";
      detail.lang = "en";
      detail.textContent = more;
      problem.append(detail);
    }
    form.before(problem);
    problem.focus();
  }

  function random() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  }
}
