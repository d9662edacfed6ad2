#include "cli/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

/* A signal handler can reach nothing but a static; every thread of an ensemble reads this one. */
static atomic_int requested;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a signal handler must not wait for a lock");

static void on_signal(int number)
{
    (void)number;
    atomic_store_explicit(&requested, 1, memory_order_relaxed);
}

void gm_interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    /* RESETHAND: the second signal finds the default action and kills. */
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

bool gm_interrupt_requested(void *unused)
{
    (void)unused;
    return atomic_load_explicit(&requested, memory_order_relaxed) != 0;
}

bool gm_interrupt_agreed(void *team)
{
    double asked = gm_interrupt_requested(NULL);
    gm_team_sum(team, 1, &asked);
    return asked > 0.0;
}
