// What classic scripts define before the modules run.

declare const uPlot: any;
