"use strict";

(() => {
  const TRIES = 20;
  const gone = "The service does not answer. Your pictures are still here: check that it runs, then ask again.";
  const busy = (seconds) => `The service is busy. It is asked again in ${seconds} s; your pictures are kept.`;
  const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

  function say(sentence) {
    const status = document.getElementById("status");
    status.textContent = sentence;
    status.hidden = sentence === "";
    if (sentence) status.scrollIntoView({ block: "nearest" });
  }

  function readAsUrl(file) {
    return new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => resolve("");
      reader.readAsDataURL(file);
    });
  }

  function startForm(form) {
    const files = document.getElementById("files");
    const camera = document.getElementById("camera");
    const drop = document.getElementById("drop");
    const previews = document.getElementById("previews");
    const limits = { images: Number(form.dataset.maxImages), bytes: Number(form.dataset.maxBytes) };
    let chosen = [];

    function refused(file) {
      if (!["image/jpeg", "image/png"].includes(file.type)) return `${file.name} is not a JPEG or PNG file.`;
      if (file.size > limits.bytes) return `${file.name} is larger than ${Math.floor(limits.bytes / 1e6)} MB.`;
      if (chosen.length >= limits.images) return `Only ${limits.images} pictures of a lesion are answered at once.`;
      return "";
    }

    function add(list) {
      let problem = "";
      for (const file of list) {
        const why = refused(file);
        if (why) problem = why;
        else chosen.push(file);
      }
      say(problem);
      show();
    }

    function show() {
      const kept = new DataTransfer();
      for (const file of chosen) kept.items.add(file);
      files.files = kept.files;
      camera.value = "";
      previews.hidden = chosen.length === 0;
      previews.replaceChildren(...chosen.map(preview));
    }

    function preview(file, position) {
      const item = document.createElement("li");
      const image = document.createElement("img");
      image.alt = `Picture ${position + 1}`;
      readAsUrl(file).then((url) => { image.src = url; });
      const remove = document.createElement("button");
      remove.type = "button";
      remove.className = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove picture ${position + 1}`);
      remove.addEventListener("click", () => {
        chosen.splice(position, 1);
        show();
        (previews.querySelector("button") || files).focus();
      });
      item.append(image, remove);
      return item;
    }

    for (const input of [files, camera]) {
      input.addEventListener("change", () => {
        const added = [...input.files].filter((file) => !chosen.includes(file));
        if (input === files) chosen = [];
        add(added);
      });
    }
    document.addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData ? event.clipboardData.files : [])];
      if (pasted.length && form.isConnected) { event.preventDefault(); add(pasted); }
    });
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
    for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      say("");
      await send(form, new FormData(form));
    });
    if (files.files.length) add([...files.files]);
  }

  async function send(form, body) {
    const button = form.querySelector("button[type=submit]");
    const progress = document.getElementById("progress");
    button.disabled = true;
    try {
      for (let attempt = 0; attempt < TRIES; attempt += 1) {
        progress.textContent = "The model is looking at it …";
        let response;
        try {
          response = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" }, credentials: "same-origin" });
        } catch {
          return say(gone);
        }
        if (response.status !== 503) return replace(await response.text(), response);
        const seconds = Math.min(Number(response.headers.get("Retry-After")) || 2, 30);
        progress.textContent = busy(seconds);
        await wait(seconds);
      }
      return say("The service is still busy. Ask again in a few minutes.");
    } finally {
      button.disabled = false;
      progress.textContent = "";
    }
  }

  function replace(text, response) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const status = page.getElementById("status");
    if (status && !status.hidden) return say(status.textContent);
    if (!page.getElementById("main")) return say(`The service refused this (${response.status}).`);
    if (response.status >= 400) {
      const problem = page.querySelector(".problem");
      return say(problem ? problem.textContent : `The service refused this (${response.status}).`);
    }
    history.replaceState({ form: true }, "");
    history.pushState({ answer: true }, "", "/");
    document.title = page.title;
    document.getElementById("main").replaceWith(page.getElementById("main"));
    const footer = page.querySelector("footer");
    if (footer) document.querySelector("footer").replaceWith(footer);
    start();
    window.scrollTo(0, 0);
    document.getElementById("main").focus({ preventScroll: true });
    return undefined;
  }

  function startResult() {
    const print = document.getElementById("print");
    if (print) {
      print.hidden = false;
      print.addEventListener("click", () => window.print());
    }
    const range = document.getElementById("opacity");
    if (!range) return;
    const layers = document.querySelectorAll(".layer");
    const shown = range.parentElement.querySelector("output");
    const set = () => {
      for (const layer of layers) layer.style.opacity = String(range.value / 100);
      shown.textContent = `${range.value} %`;
    };
    range.parentElement.hidden = false;
    range.addEventListener("input", set);
    set();
  }

  function startReview() {
    for (const form of document.querySelectorAll("form.decide")) {
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const body = new URLSearchParams(new FormData(form, event.submitter));
        const headers = { Accept: "text/html", "X-Requested-With": "page" };
        const said = form.parentElement.querySelector(".decided");
        let response;
        try {
          response = await fetch(form.action, { method: "POST", body, headers, credentials: "same-origin" });
        } catch {
          said.textContent = "The service does not answer: nothing was written.";
          return;
        }
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const written = page.getElementById(form.parentElement.id);
        const problem = page.querySelector(".problem");
        if (response.ok && written) said.textContent = written.querySelector(".decided").textContent;
        else said.textContent = problem ? problem.textContent : "Nothing was written.";
      });
    }
  }

  function start() {
    for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
    const form = document.getElementById("ask");
    if (form) startForm(form);
    startResult();
    startReview();
  }

  window.addEventListener("popstate", (event) => {
    if (event.state && event.state.form) window.location.reload();
  });
  start();
})();
