// parting.h: of timelines that part, the one that is meant.
//
// The newest timeline to which a backup leads is followed (sources.h) because it usually is the one
// that went on. It may as well be a copy's, a drill's, or that of a standby which was promoted by
// mistake. What a plan along it would leave behind is looked for here, and where the plan would
// leave it in silence only the operator can tell: it is refused, with a command for either way.
//
// Whoever names a timeline is not asked. Else, in this order:
//   - what the cluster's own server wrote, where that is known, is never left; what it is on ends
//     every other question about an end;
//   - a later timeline of which it is not known where it parted is not passed over;
//   - a backup that was made when the timeline was there and that does not lead to it: a server
//     went on elsewhere;
//   - a place that another timeline has too;
//   - commits on another timeline, unless the one that is followed took over from it: it began when
//     the other had committed its last.
// What is not known is no answer: a history that is lost asks as one that is damaged does.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "recovery/plan.h"
#include "recovery/sources.h"

namespace holdfast::recovery {

class Parting {
 public:
  // Whether there is a plan for a target: a way out of a refusal is named only if it works.
  using Works = std::function<bool(const Target&)>;

  // `plan` is made, but for its abandoned timelines, notes and warnings of what is asked here. All
  // must outlive the object.
  Parting(const Sources& sources, const Target& target, Works works, Plan& plan)
      : sources_(sources),
        archive_(sources.archive()),
        chosen_(sources.history()),
        target_(target),
        works_(std::move(works)),
        plan_(plan) {}

  // Every other timeline whose own WAL goes on behind the parting, with the time of its last
  // commit.
  void find_abandoned();
  // Throws kTargetUnreachable where somebody has to say which timeline is meant.
  void ask();

 private:
  // Of a timeline that is not named the commits decide whether it is the one that is meant; a place
  // is where it is, whatever was committed later.
  bool is_led_by_time() const {
    return target_.kind == TargetKind::kLatest || target_.kind == TargetKind::kTime;
  }
  bool goes_to_the_end() const {
    return target_.kind == TargetKind::kLatest || plan_.ran_to_the_end;
  }
  void look_at_branch(const pg::TimelineHistory& history, pg::Lsn fork);
  void look_at_end_of_branch(const pg::TimelineHistory& history, pg::Lsn fork);
  void add_branch(pg::TimelineId timeline, pg::Lsn fork, Time last, std::optional<Time> meant);
  bool makes_no_difference(std::optional<pg::Lsn> fork) const;
  std::optional<pg::TimelineId> first_behind(pg::Lsn fork) const;

  void ask_cluster(const ClusterEnd& cluster);
  void require_its_history(const ClusterEnd& cluster) const;
  void ask_cluster_without_history(const ClusterEnd& cluster);
  void ask_untold() const;
  void ask_newest_backup() const;
  void ask_place();
  bool has_place(const pg::TimelineHistory& history, pg::Lsn fork) const;
  bool has_location(const pg::TimelineHistory& history) const;
  void ask_branch(const AbandonedBranch& branch);
  std::optional<bool> took_over_from(const AbandonedBranch& branch, bool by_target) const;

  const pg::TimelineHistory* history_of(pg::TimelineId timeline) const;
  Target along(pg::TimelineId timeline) const;
  std::string to_go_along(pg::TimelineId timeline) const;
  std::string way_to(const AbandonedBranch& branch, bool& is_led_to) const;
  std::string never_behind(const AbandonedBranch& branch) const;

  const Sources& sources_;
  const repo::WalArchive& archive_;
  const pg::TimelineHistory& chosen_;
  const Target& target_;
  const Works works_;
  Plan& plan_;
};

// How a timeline that nobody is to follow any more is ended for good: whole commands. Empty: it is
// the first.
std::string never_again(const repo::WalArchive& archive, pg::TimelineId timeline);

}  // namespace holdfast::recovery
