"use strict";
// Draws the figures that the page carries, and makes its table sort, filter and copy. Nothing is fetched.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const choices = read("choices");
  const narrow = () => window.innerWidth < 600;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
    const title = (given) => (given ? { title: { text: given.title?.text ?? given.title ?? "" } } : {});
    return {
      ...layout,
      font: { color: colour("--text"), size: narrow() ? 10 : 12, family: "system-ui, sans-serif" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { align: "left", bgcolor: colour("--raised"), font: { color: colour("--text") } },
      margin: { l: 10, r: 20, t: 30, b: 40 },
      dragmode: narrow() ? false : "zoom",
      xaxis: { ...axis, ...layout.xaxis, ...title(layout.xaxis) },
      yaxis: { ...axis, ...layout.yaxis, ...title(layout.yaxis) },
    };
  }

  const chosen = (name) => choices[name][document.querySelector(`[data-chooser="${name}"]`).value];

  function draw(place) {
    const { choice, figure } = place.dataset;
    const found = choice ? chosen(choice)[figure] : figures[figure];
    const data = found.data.map((trace) => (trace.type === "heatmap" && narrow() ? { ...trace, showscale: false } : trace));
    place.dataset.drawn = "yes";
    return Plotly.react(place, data, themed(found.layout), { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover" });
  }

  const places = [...document.querySelectorAll(".figure")];
  const seen = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting && !entry.target.dataset.drawn).forEach((entry) => draw(entry.target)),
    { rootMargin: "400px" },
  );
  places.forEach((place) => {
    const known = place.dataset.choice ? null : figures[place.dataset.figure];
    if (known) place.style.minHeight = `${known.layout.height}px`; // so that nothing jumps when it is drawn
    seen.observe(place);
  });
  const redraw = () => places.filter((place) => place.dataset.drawn).forEach(draw);
  dark.addEventListener("change", redraw);
  let width = window.innerWidth < 600;
  window.addEventListener("resize", () => {
    if (width !== narrow()) { width = narrow(); redraw(); }
  });
  document.querySelectorAll("[data-chooser]").forEach((chooser) => chooser.addEventListener("change", () =>
    places.filter((place) => place.dataset.choice === chooser.dataset.chooser).forEach(draw)));

  const table = document.getElementById("cells");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value;

  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === ""); // what is not known goes last, either way
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.ariaSort === "ascending";
    heads.forEach((other) => { other.ariaSort = "none"; });
    head.ariaSort = down ? "descending" : "ascending";
    const known = (row) => value(row, column) !== "";
    rows.sort((a, b) => (down && known(a) && known(b) ? -1 : 1) * compare(value(a, column), value(b, column)));
    body.append(...rows);
  }));

  const count = document.querySelector("[data-count]");
  document.querySelector("[data-filter]").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} cells`;
  });

  // A cell that begins with one of =+-@ is a formula to a spreadsheet; a quote before it makes it text.
  function field(text) {
    const safe = /^[=+@\t\r-]/.test(text) && !Number.isFinite(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // a page from disk may have no clipboard
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  document.querySelector("[data-copy]").addEventListener("click", async () => {
    const shown = rows.filter((row) => !row.hidden);
    const lines = [heads.map((head) => head.textContent.trim()), ...shown.map((row) => heads.map((_, column) => value(row, column)))];
    await copy(lines.map((line) => line.map(field).join(",")).join("\r\n") + "\r\n");
    count.textContent = `${shown.length.toLocaleString("en")} cells copied`;
  });
})();
