/*
 * The right to add a runner, the lease of a manager, and the take-over: `Store::reserve`, `reconcile::execute`, `plan::recovery`.
 * Two managers on one store, each with its own engine. `scripts/model` runs it; models/README.md says what it shows.
 *
 * A step of the model is one call that the program awaits. Between any two of them a manager may be killed, or stand still for
 * so long that its lease lapses. `Executor::change` (compare-and-set until it holds) is one step on the row as it stands then.
 *
 * Left out: a manager does one thing at a time; rows do not age out; jobs are in the store from the start (the other model is
 * about their way there). That a job was taken is known at once, unless LATE_EVENTS is defined: then a runner may be made for
 * a job that has one, and is let go as surplus, but all else must hold. With TOKEN agents register themselves (`registration:
 * token`): a manager that stands still between its last look and the start cannot be stopped by anybody, so there may be a runner
 * too many until it is looked at; all else must hold.
 */

#ifndef JOBS
#define JOBS 1
#endif
#ifndef MAX
#define MAX 1
#endif
/* Names that runners may have: one for each job, and one for each that fails. */
#ifndef NAMES
#define NAMES 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LAPSES
#define LAPSES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

/* States of a row; `gone` stands for `removed`. */
#define none 0
#define created 1
#define started 2
#define running 3
#define stopped 4
#define gone 5
/* What a row knows of the registration. */
#define unknown 0
#ifndef TOKEN
#define held 1
#else
#define held unknown
#endif
#define given_up 2
/* A container. */
#define absent 0
#define made 1
#define up 2
#define ended 3

typedef Row { byte state; byte owner; byte registration; byte version };

/* The store. */
Row row[NAMES];
byte queued = JOBS;
bool lease[2] = true;

/* GitHub. */
byte unserved = JOBS;
bool registered[NAMES];
bool busy[NAMES];

/* The engines. */
byte container[NAMES];
byte engine[NAMES];

/* Whether `in_progress` of its job was applied, and whether there was one to apply. */
bool took[NAMES];
bool told[NAMES];

/* The managers' fate. */
bool killed[2];
bool dead[2];

#define live(n) (row[n].state != none && row[n].state != gone)
#define is_supply(n) (row[n].state == created || row[n].state == started)
#define able(n) (container[n] == up && registered[n] && !busy[n])
#define online(n) (container[n] == up && registered[n])

/* How many runners may take a job now, and how many run one: what GitHub and the engines know, not what rows say. */
#if NAMES == 2
#define all(what) (what(0) + what(1))
#else
#define all(what) (what(0) + what(1) + what(2))
#endif
#define at_work(n) (container[n] == up && busy[n])

/* To be said after each step that can make a runner. */
inline holds() {
    assert(all(live) <= MAX);                       /* never more rows than `max` */
#ifndef TOKEN
    assert(all(able) + all(at_work) <= MAX);        /* nor runners */
#ifndef LATE_EVENTS
    assert(all(able) <= unserved)                   /* never two runners for one deficit */
#endif
#endif
}

/* ------------------------------------------------------------------------------------------------------------ the store */

/* `Store::reserve`: one script in Redis, one transaction in the file. */
#define may_be_granted(n) (row[n].state == none && queued > all(is_supply) && all(live) < MAX)
inline write_intent(n) {
    if
    :: yes -> row[n].state = created; row[n].owner = m; row[n].registration = unknown; row[n].version++; printf("%d: right to make runner %d\n", m, n)
    :: else -> printf("%d: no right to make runner %d\n", m, n)
    fi;
    holds()
}
inline reserve(n) {
#ifdef RESERVE_NOT_ATOMIC
    yes = may_be_granted(n);
    d_step { write_intent(n) }
#else
    d_step { yes = may_be_granted(n); write_intent(n) }
#endif
}

/* ---------------------------------------------------------------------------------------------------------- the actions */

/* `Executor::launch`. */
inline launch(n) {
    reserve(n);
    if
    :: !yes
    :: yes ->
        /* The credential; a registration that is left of that name is deleted first. */
#ifndef TOKEN
        d_step { registered[n] = true; printf("%d: GitHub registers runner %d\n", m, n) };
#endif
        d_step { container[n] = made; engine[n] = m; printf("%d: container of runner %d is made\n", m, n) };
        /* What was made is written down. */
        d_step {
#ifdef NO_COMPARE_AND_SET
            row[n].state = created; row[n].owner = m; row[n].registration = held; row[n].version++;
            yes = true
#else
#ifdef UNCHECKED_ROW
            row[n].registration = held; row[n].version++;
            yes = true
#else
            yes = (row[n].state == created && row[n].owner == m);
            if :: yes -> row[n].registration = held; row[n].version++ :: else fi
#endif
#endif
            ;
            if
            :: yes -> printf("%d: row of runner %d has its registration\n", m, n)
            :: else -> printf("%d: row of runner %d is not what it was\n", m, n)
            fi
        };
        if
        :: !yes ->
            /* Somebody took it over meanwhile: what was made is taken away. */
            container[n] = absent;
            if :: d_step { !busy[n] -> registered[n] = false } :: else fi
        :: yes ->
            d_step {
                if :: container[n] == made -> container[n] = up; printf("%d: runner %d is up\n", m, n) :: else fi;
                holds()
            };
            d_step {
                if
                :: row[n].state == created && row[n].owner == m -> row[n].state = started; row[n].version++; printf("%d: row of runner %d says started\n", m, n)
                :: else
                fi
            }
        fi
    fi
}

/* Gives the registration up: by its id if the row had one, otherwise it is looked up by name. GitHub refuses while it runs a
 * job, and the runner stays. */
inline release(n) {
    if
    :: seen == held || (seen == unknown && registered[n]) ->
        if
        :: d_step { !busy[n] -> registered[n] = false; printf("%d: GitHub gives runner %d up\n", m, n) }
        :: else -> goto again
        fi
    :: else
    fi
}

/* `Executor::take_down` of a runner of this manager, where no job can be in the container: it ended, was never started, or
 * is not there. */
inline take_down(n) {
    d_step {
        seen = row[n].registration;
        printf("%d: takes runner %d down\n", m, n);
        if
        :: row[n].state == started || row[n].state == running -> row[n].state = stopped; row[n].version++
        :: else
        fi
    };
    d_step {
        if
        :: container[n] != absent && engine[n] == m && container[n] != up -> container[n] = absent
        :: else
        fi
    };
    release(n);
    close(n)
}

inline close(n) {
    d_step {
        row[n].state = gone; row[n].registration = given_up; row[n].version++;
        printf("%d: row of runner %d is closed\n", m, n)
    }
}

/* The same of one whose manager is dead, and whose container, if there is one, cannot be seen from here. */
inline take_down_elsewhere(n) {
#ifdef CLOSE_BLINDLY
    take_down(n)
#else
    d_step { seen = row[n].registration; version = row[n].version; printf("%d: takes runner %d down from afar\n", m, n) };
    release(n);
    d_step {
        if
        :: row[n].version == version ->
            row[n].state = gone; row[n].registration = given_up; row[n].version++;
            printf("%d: row of runner %d is closed\n", m, n)
        :: else -> printf("%d: row of runner %d is not what it was\n", m, n)
        fi
    }
#endif
}

/* A container here whose runner is removed. */
inline remove_container(n) {
#ifndef REMOVE_WITHOUT_GITHUB
    if
    :: d_step { container[n] == up && registered[n] && !busy[n] -> registered[n] = false }
    :: else
    fi;
#else
    (!busy[n]);
#endif
    d_step {
        if
#ifdef REMOVE_WITHOUT_GITHUB
        :: true -> assert(!busy[n]); container[n] = absent; printf("%d: container of runner %d is removed\n", m, n)
#else
        :: container[n] != up || !busy[n] -> container[n] = absent
        :: else
#endif
        fi
    }
}

#define mine(n) (row[n].owner == m)
#define owner_lives(n) (row[n].owner == m || lease[row[n].owner])
#define here(n) (container[n] != absent && engine[n] == m)

/* What the plan finds to do for one name. */
#ifdef FRESH
/* Its memory is as the store: for properties over time, which a manager that asks in vain for ever would break. */
#define may_launch(n) (may_be_granted(n))
#else
#define may_launch(n) (row[n].state == none && queued > 0)
#endif
#define may_record_job(n) (live(n) && mine(n) && is_supply(n) && told[n])
#define may_record_start(n) (row[n].state == created && mine(n) && here(n) && container[n] == up)
#define is_over(n) (live(n) && mine(n) && !(here(n) && container[n] == up) && (!took[n] || told[n]))
#define is_left(n) (row[n].state == gone && here(n) && !busy[n])
#define is_orphan_here(n) (live(n) && !owner_lives(n) && here(n))
#define is_orphan(n) (live(n) && !owner_lives(n) && !here(n) && !online(n) && !busy[n] && (!took[n] || told[n]))
#define is_ghost(n) (registered[n] && !online(n) && !busy[n] && !live(n) && container[n] == absent)

#define something(n) (may_launch(n) || may_record_job(n) || may_record_start(n) || is_over(n) || is_left(n) \
    || is_orphan_here(n) || is_orphan(n) || is_ghost(n))

/* One name, one thing. */
inline act(n) {
    if
    :: may_launch(n) -> launch(n)
    :: may_record_job(n) ->
        d_step { if :: live(n) && mine(n) && is_supply(n) -> row[n].state = running; row[n].version++ :: else fi }
    :: may_record_start(n) && !told[n] ->
        d_step { if :: row[n].state == created && mine(n) -> row[n].state = started; row[n].version++ :: else fi }
    :: is_over(n) && !may_record_job(n) -> take_down(n)
    :: is_left(n) -> remove_container(n)
    :: is_orphan_here(n) ->
        d_step { if :: live(n) && !owner_lives(n) -> row[n].owner = m; row[n].version++; printf("%d: takes runner %d over\n", m, n) :: else fi }
    :: is_orphan(n) ->
        /* The store is asked once more whether its manager lives (`is_anothers`); from here on that one may come back. */
        take_down_elsewhere(n)
    :: d_step { is_ghost(n) -> registered[n] = false }
    :: else
    fi
}

proctype Manager(byte m) {
    byte n;
    byte seen, version;
    bool yes;
again:
    {
end:    do
        :: atomic { !lease[m] -> lease[m] = true }
        :: atomic { lease[m] -> if
            :: something(0) -> n = 0
            :: something(1) -> n = 1
#if NAMES == 3
            :: something(2) -> n = 2
#endif
            fi };
            act(n);
            n = 0; seen = 0; version = 0; yes = 0
        od
    } unless {
        atomic { killed[m] -> killed[m] = false; printf("%d: is killed\n", m); n = 0; seen = 0; version = 0; yes = 0 }
    };
    if
    :: goto again
    :: atomic { !dead[1 - m] -> dead[m] = true }
    fi
}

/* The agent in a container. GitHub gives it a job while it is online; an agent whose registration is gone ends. */
proctype Agent(byte n) {
#ifdef TOKEN
    bool joined;
#else
#define joined true
#endif
end:do
    :: atomic { able(n) && unserved > 0 -> busy[n] = true; took[n] = true; unserved--; printf("runner %d takes a job\n", n);
#ifndef LATE_EVENTS
        told[n] = true; queued--
#endif
    }
    :: atomic { busy[n] && container[n] == up -> busy[n] = false; registered[n] = false; container[n] = ended; printf("the job of runner %d is over\n", n) }
#ifdef TOKEN
    :: atomic { container[n] == up && !registered[n] && !busy[n] && !joined -> registered[n] = true; joined = true; printf("runner %d registers itself\n", n) }
#endif
    :: atomic { container[n] == up && !registered[n] && !busy[n] && joined -> container[n] = ended }
    :: atomic { took[n] && !told[n] -> told[n] = true; queued--; printf("the job of runner %d is known\n", n) }
    od
}

/* What may happen at any moment. */
proctype World() {
    byte crashes = CRASHES, lapses = LAPSES, deaths = DEATHS;
end:do
    :: atomic { crashes > 0 && !dead[0] -> crashes--; killed[0] = true }
    :: atomic { crashes > 0 && !dead[1] -> crashes--; killed[1] = true }
#ifndef LEASE_NEVER_LAPSES
    /* A manager stood still for longer than its lease lasts. */
    :: atomic { lapses > 0 && lease[0] -> lapses--; lease[0] = false; printf("0: stands still; its lease lapses\n") }
    :: atomic { lapses > 0 && lease[1] -> lapses--; lease[1] = false; printf("1: stands still; its lease lapses\n") }
    :: atomic { dead[0] && lease[0] -> lease[0] = false }
    :: atomic { dead[1] && lease[1] -> lease[1] = false }
#endif
    :: atomic { deaths > 0 && able(0) -> deaths--; container[0] = ended; printf("runner 0 dies\n") }
    :: atomic { deaths > 0 && able(1) -> deaths--; container[1] = ended; printf("runner 1 dies\n") }
    od
}

init {
    atomic {
        run Manager(0); run Manager(1); run World();
        run Agent(0); run Agent(1);
#if NAMES == 3
        run Agent(2)
#endif
    }
}

#define clean(n) (!live(n) && container[n] == absent && !registered[n])

/* Every job is served, whoever dies on the way. */
ltl served { <> (unserved == 0) }
/* And in the end nothing is left of anybody. */
ltl tidy { <> [] (all(clean) == NAMES) }
