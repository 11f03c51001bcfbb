"use strict";

// The list of shots: one stop of the Tab key, arrow keys select within.

const MARKS = {
  done: ["✓ done", "good"],
  doing: ["▶ taking", "warn"],
  failed: ["✗ failed", "bad"],
  todo: ["· to do", "quiet"],
};

class ShotList {
  constructor(box, selected) {
    this.box = box;
    this.onselect = selected;
    this.shots = [];
    this.selected = null;
    this.followed = null;
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.select(row.dataset.name);
    });
  }

  update(shots, current) {
    if (JSON.stringify(shots) !== JSON.stringify(this.shots)) {
      this.shots = shots;
      this.box.replaceChildren(...shots.map((shot, index) => this.row(shot, index)));
    }
    const names = shots.map((shot) => shot.name);
    if (current && current !== this.followed) this.select(current);
    else this.select(names.includes(this.selected) ? this.selected : names[0] ?? null, false);
    this.followed = current;
  }

  row(shot, index) {
    const [mark, tone] = MARKS[shot.status] ?? MARKS.todo;
    const row = document.createElement("div");
    row.setAttribute("role", "option");
    row.id = `shot-${index}`;
    row.dataset.name = shot.name;
    const cell = (name, text) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      row.append(span);
    };
    cell(`mark ${tone}`, mark);
    cell("name", shot.name);
    const film = shot.layers === undefined ? "" : shot.layers ? `${shot.layers} ${shot.layers === 1 ? "layer" : "layers"}` : "bare";
    const details = [film, shot.exposure && shot.exposure !== 1 ? `exposure ${shot.exposure}` : "", shot.role === "held" ? "held" : ""];
    cell("detail", details.filter(Boolean).join(" · "));
    if (shot.note) cell("note", shot.note);
    return row;
  }

  select(name, scroll = true) {
    this.selected = name;
    for (const row of this.box.children) {
      const chosen = row.dataset.name === name;
      row.setAttribute("aria-selected", String(chosen));
      if (!chosen) continue;
      this.box.setAttribute("aria-activedescendant", row.id);
      if (scroll) this.reveal(row);
    }
    this.onselect(name);
  }

  reveal(row) { // within the box alone: scrollIntoView would move the whole page under the operator's hands
    const top = row.offsetTop - this.box.offsetTop;
    const hidden = top < this.box.scrollTop || top + row.offsetHeight > this.box.scrollTop + this.box.clientHeight;
    if (hidden) this.box.scrollTop = top - (this.box.clientHeight - row.offsetHeight) / 2;
  }

  key(event) {
    const index = this.shots.findIndex((shot) => shot.name === this.selected);
    const last = this.shots.length - 1;
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: last, PageDown: index + 8, PageUp: index - 8 }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.select(this.shots[Math.max(0, Math.min(last, to))].name);
  }
}
