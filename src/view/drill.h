// drill.h: what drills found, as text, as JSON, and as one page of HTML that stands alone.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "drill/destroy.h"
#include "drill/drill.h"
#include "repo/drill_report.h"

namespace holdfast::view {

std::string text(const drill::DrillResult& result);
Json json(const drill::DrillResult& result);

std::string text(const drill::DestroyResult& result);
Json json(const drill::DestroyResult& result);

// "drill show"
std::string text(const repo::DrillReport& report);
Json json(const repo::DrillReport& report);

// "drill list", oldest first
std::string text(const std::vector<repo::DrillReport>& reports);
Json json(const std::vector<repo::DrillReport>& reports);

// For somebody who reads no logs: the verdict, the two figures, and behind them everything else. No
// script, nothing from elsewhere; readable on paper.
std::string html(const repo::DrillReport& report);

}  // namespace holdfast::view
