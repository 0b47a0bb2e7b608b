// The upload form with a progress bar. Without this file the form is sent as any form is.
"use strict";
const form = document.getElementById("upload");
if (form) {
  const bar = form.querySelector("progress");
  const notice = form.querySelector(".notice");
  const button = form.querySelector("button");
  const label = button.textContent;
  bar.ariaLabel = "Upload progress";
  const rest = () => {
    bar.hidden = true;
    button.disabled = false;
    button.textContent = label;
  };
  const complain = (text) => {
    rest();
    notice.textContent = text;
    notice.hidden = false;
  };
  // A page that comes back by the Back button comes back ready.
  window.addEventListener("pageshow", rest);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    document.querySelectorAll("main > .notice").forEach((old) => old.remove());
    notice.hidden = true;
    bar.hidden = false;
    bar.value = 0;
    button.disabled = true;
    button.textContent = "Uploading…";
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (step) => {
      if (!step.lengthComputable) return;
      bar.value = step.loaded / step.total;
      button.textContent = "Uploading… " + Math.floor((100 * step.loaded) / step.total) + " %";
    });
    // All is sent; the server reads the model before it answers.
    request.upload.addEventListener("load", () => {
      bar.removeAttribute("value");
      button.textContent = "Checking the model…";
    });
    request.addEventListener("load", () => {
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      const refusal = page.querySelector(".notice.bad:not([hidden])");
      if (request.status >= 400) {
        complain(refusal ? refusal.textContent : "The upload failed with status " + request.status + ".");
      } else {
        window.location.assign(request.responseURL);
      }
    });
    request.addEventListener("error", () => complain("The connection broke off; try again."));
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}
