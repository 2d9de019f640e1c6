// Adds a button beside each digest or secret that copies it. Without a clipboard, none is shown.
"use strict";
if (navigator.clipboard) {
  for (const code of document.querySelectorAll("code[data-copy]")) {
    const button = document.createElement("button");
    const spoken = document.createElement("span");
    button.type = "button";
    button.className = "second copy";
    button.textContent = code.dataset.copy;
    spoken.className = "hush";
    spoken.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = spoken.textContent = code.dataset.copied;
      setTimeout(() => { button.textContent = code.dataset.copy; spoken.textContent = ""; }, 3000);
    });
    code.after(" ", button, spoken);
  }
}
