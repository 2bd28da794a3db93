"use strict";
// What is more comfortable with a script; every page works without it.

// Times in the reader's zone, with UTC to be seen on hover.
function localTimes(root) {
  for (const t of root.querySelectorAll("time[data-clock]")) {
    const at = new Date(t.dateTime);
    if (isNaN(at)) continue;
    const two = (n) => String(n).padStart(2, "0");
    t.title = t.dateTime.replace("T", " ").replace("Z", " UTC");
    t.textContent = at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate()) + " " +
      two(at.getHours()) + ":" + two(at.getMinutes()) + (t.dataset.clock === "seconds" ? ":" + two(at.getSeconds()) : "");
  }
  for (const z of root.querySelectorAll("[data-zone]")) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone !== "UTC") z.textContent = "Times are those of " + zone + "; hover shows UTC.";
  }
}

// A box in a table's head ticks all boxes of the table.
function tickAll(root) {
  for (const all of root.querySelectorAll("input[data-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const one of all.closest("table").querySelectorAll("tbody input[type=checkbox]")) one.checked = all.checked;
    });
  }
}

function prepare(root) {
  localTimes(root);
  tickAll(root);
}

// The content is loaded again without a jump: the place on the page, the focus and a selection stay.
async function refresh() {
  const busy = document.hidden || document.querySelector("main form :focus, main input:checked") ||
    String(getSelection()) !== "";
  if (busy) return;
  try {
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}});
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = next.querySelector("main"), here = document.querySelector("main");
    if (!main) return;
    prepare(next);
    const open = [...here.querySelectorAll("details")].map((d) => d.open);
    const at = document.activeElement, id = at && here.contains(at) && (at.id || at.getAttribute("href"));
    main.querySelectorAll("details").forEach((d, i) => { if (open[i]) d.open = true; });
    here.replaceChildren(...main.childNodes);
    document.title = next.title;
    const foot = next.querySelector("footer");
    if (foot) document.querySelector("footer").replaceWith(foot);
    if (id) {
      const again = [...here.querySelectorAll("a,[id]")].find((e) => e.id === id || e.getAttribute("href") === id);
      if (again) again.focus({preventScroll: true});
    }
  } catch {
    // the server is away; the page that is there says when it was made
  }
}

prepare(document);
const seconds = Number(document.body.dataset.refresh);
if (seconds > 0) setInterval(refresh, seconds * 1000);
