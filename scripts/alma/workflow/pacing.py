"""Keep Snakemake's main process from choosing jobs again and again while nothing has changed.

Snakemake limits how many jobs are started in a span of time, by default 100 in a second. So after each
choice of jobs it sets a timer, one span long, to choose again, whether or not the limit held any job back;
and since each job that ends leads to a choice too, a chain of timers more begins with every job, and none
ends while jobs wait for a free core. After a hundred jobs all that wait are weighed a hundred times a second.

`install` has a timer set only where the limit did hold jobs back, and one at a time. Snakemake has no hook
for this, so a method of its scheduler is replaced; where this Snakemake has none that fits, it is left as it
is.
"""

import threading
from typing import Any

_METHOD = "_schedule_reevalutation"  # as Snakemake spells it
_USED = ("get_free_jobs", "register_jobs")  # of its limiter


def install() -> bool:
    """Replace the method of Snakemake's scheduler, once per process; False where there is none that fits."""
    try:
        from snakemake.scheduling.job_scheduler import JobRateLimiter, JobScheduler
    except ImportError:
        return False
    if getattr(JobScheduler, "alma_pacing", False):
        return True
    if not (hasattr(JobScheduler, _METHOD) and all(hasattr(JobRateLimiter, name) for name in _USED)):
        return False
    original = getattr(JobScheduler, _METHOD)

    def schedule(self: Any, delay: float) -> None:
        try:
            waits = _must_choose_again(self)
        except AttributeError:  # another Snakemake
            original(self, delay)
            return
        if waits and not getattr(self, "alma_timer", None):
            self.alma_timer = threading.Timer(delay, _choose, [self])
            self.alma_timer.daemon = True  # or the process would not end before it
            self.alma_timer.start()

    setattr(JobScheduler, _METHOD, schedule)
    JobScheduler.alma_pacing = True
    return True


def _choose(scheduler: Any) -> None:
    scheduler.alma_timer = None
    scheduler._open_jobs.release()


def _must_choose_again(scheduler: Any) -> bool:
    """Whether jobs may be started later that nothing else than time holds back."""
    if scheduler.workflow.dag.has_unfinished_queue_input_jobs():
        return True
    return scheduler.job_rate_limiter is not None and scheduler.job_rate_limiter.get_free_jobs() == 0
