// The upload form with a progress bar. Without this file the form is sent as any form is.
"use strict";
const form = document.getElementById("upload");
if (form) {
  const bar = form.querySelector("progress");
  const notice = form.querySelector(".notice");
  const button = form.querySelector("button");
  const complain = (text) => {
    notice.textContent = text;
    notice.hidden = false;
    bar.hidden = true;
    button.disabled = false;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    notice.hidden = true;
    bar.hidden = false;
    bar.value = 0;
    button.disabled = true;
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (step) => {
      if (step.lengthComputable) bar.value = step.loaded / step.total;
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
