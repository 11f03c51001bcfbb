"use strict";

// Counts of the codes of three channels, drawn over each other on a square-root scale: few pixels stay visible.

function drawHistogram(canvas, histogram) {
  const style = getComputedStyle(document.documentElement);
  const ratio = devicePixelRatio;
  const width = canvas.width = Math.round(canvas.clientWidth * ratio);
  const height = canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  const inner = histogram.map((channel) => channel.slice(1, -1));
  const top = Math.sqrt(Math.max(1, ...inner.flat())); // the end codes may tower over all others
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  context.fillStyle = style.getPropertyValue("--sunken");
  context.fillRect(0, 0, width, height);
  context.globalAlpha = 0.5;
  context.globalCompositeOperation = dark ? "screen" : "multiply"; // grey where all channels lie
  ["--red", "--green", "--blue"].forEach((name, channel) => {
    context.fillStyle = style.getPropertyValue(name);
    context.beginPath();
    context.moveTo(0, height);
    histogram[channel].forEach((count, code) => {
      const y = height - (height - 4 * ratio) * Math.min(1, Math.sqrt(count) / top);
      context.lineTo(code * width / 256, y);
      context.lineTo((code + 1) * width / 256, y);
    });
    context.lineTo(width, height);
    context.fill();
  });
}

function histogramInWords(histogram) {
  const sum = Array.from({ length: 256 }, (_, code) => histogram[0][code] + histogram[1][code] + histogram[2][code]);
  const total = sum.reduce((all, count) => all + count, 0);
  const quantile = (share) => {
    let seen = 0;
    return sum.findIndex((count) => (seen += count) >= share * total);
  };
  return `Histogram of the camera's codes: middle ${quantile(0.5)}, nine in ten from ${quantile(0.05)} to ${quantile(0.95)}`;
}
