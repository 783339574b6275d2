"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.add("scripted");

  // A link to a finding opens what is folded in its card.
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.matches(".card") && target.querySelector("details");
    if (folded) folded.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Paper cannot be unfolded.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));

  const button = (text, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  };

  // A button behind what can be copied, as it is shown.
  all(".copy").forEach((shown) => shown.after(" ", button("Copy", ({ target }) => {
    const done = () => {
      target.textContent = "Copied";
      setTimeout(() => { target.textContent = "Copy"; }, 1500);
    };
    if (navigator.clipboard) {
      navigator.clipboard.writeText(shown.textContent.trim()).then(done);
    } else {
      getSelection().selectAllChildren(shown);
      if (document.execCommand("copy")) done();
    }
  })));

  // Cards and rows: filter by words and by the values of columns; some tables sort by any column.
  const priorities = { high: 1, medium: 2, low: 3 };
  all(".filtered").forEach((list) => {
    const bodies = all("tbody", list);
    const entries = all("article, tbody tr:not(.month)", list)
      .map((row) => ({ row, words: row.textContent.toLowerCase() }));
    const tools = list.closest("section").querySelector(".tools");
    const search = tools.querySelector("input");
    const selects = all("select", tools);
    const said = (row, column) => row.cells[column].textContent.trim();

    const filter = () => {
      const wanted = search.value.trim().toLowerCase();
      const chosen = selects.filter((select) => select.value);
      let count = 0;
      entries.forEach(({ row, words }) => {
        row.hidden = !words.includes(wanted)
          || chosen.some((select) => said(row, select.dataset.column).split("\n").pop() !== select.value);
        if (!row.hidden) count += 1;
      });
      bodies.forEach((body) => { body.hidden = ![...body.rows].some((row) => !row.hidden && !row.matches(".month")); });
      const total = entries.length.toLocaleString("en");
      tools.querySelector("output").textContent = count === entries.length
        ? `${total} shown` : `${count.toLocaleString("en")} of ${total} shown`;
    };
    let pause;
    search.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(filter, 120); });
    selects.forEach((select) => select.addEventListener("change", filter));
    filter();

    if (!list.matches(".sortable")) return;
    all("thead th:not(.plain)", list).forEach((head) => {
      head.firstChild.replaceWith(button(head.firstChild.textContent, () => {
        const numeric = head.classList.contains("n");
        const before = head.getAttribute("aria-sort");
        const up = before ? before === "descending" : !numeric;
        all("th[aria-sort]", list).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        entries.forEach((entry) => {
          const text = said(entry.row, head.cellIndex);
          const key = entry.row.cells[head.cellIndex].dataset.key || text.replace(/,/g, "");
          entry.key = numeric ? Number(key) || 0 : priorities[text] || text;
        });
        entries.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * (up ? 1 : -1));
        bodies[0].append(...entries.map((entry) => entry.row));
      }));
    });
  });

  // Keys: to the filter, from finding to finding, into one and out of it.
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const shown = all("article, .findings tbody tr").filter((each) => !each.hidden);
    const at = shown.indexOf(document.activeElement.closest("article, .findings tr"));
    const step = { j: 1, k: -1 }[event.key];
    if (step) {
      const next = shown[at < 0 ? 0 : at + step];
      if (next) {
        next.tabIndex = -1;
        next.focus();
      }
    } else if (event.key === "o") {
      const folded = at >= 0 && shown[at].querySelector("details");
      if (folded) folded.open = !folded.open;
    } else if (event.key === "/") {
      const search = document.querySelector("input");
      if (!search) return;
      event.preventDefault();
      search.focus();
    }
  });
})();
