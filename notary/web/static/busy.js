// Says that a form is on its way, for files that take a while. The browser does the sending.
"use strict";
for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", () => {
    form.querySelector("[data-status]").textContent = form.dataset.busy;
  });
  // Back on the page through the browser's history, nothing is on its way any more.
  addEventListener("pageshow", () => { form.querySelector("[data-status]").textContent = ""; });
}
