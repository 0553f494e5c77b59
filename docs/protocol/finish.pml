/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one task as docs/task-states.md has it: two runners that may crash or lose a reply after any step, a
 * sweeper that takes back at will (so no clock matters) and rolls forward, gc at any moment, and a user who deletes
 * models, restarts the task and deletes it. A claim's number is also the number of its blob and of its model.
 *
 * Checked by `make model` (scripts/model): no assertion fails and nothing gets stuck, and each of these changes makes
 * it fail:  -DNO_FENCE         writes after the claim do not carry the claim's id
 *           -DNO_TOMBSTONE     deleting a model leaves nothing behind
 *           -DSTALE_BY_AGE     gc calls an upload stale while its task still names the claim
 *           -DDELETE_OWN_BLOB  a runner whose commit got no reply deletes the blob that it had offered
 *           -DNO_ROLL_FORWARD  nobody publishes what a crashed runner committed
 *           -DUNANNOUNCED      the blob is written before its upload entry */
#define CLAIMS 3 /* at most; the last one meets no crash, so that everything must end well */
#define RUNS 2

mtype = { READY, RUNNING, DONE, DELETED, NONE, LIVE, TOMBSTONE };

/* the task */
mtype state = READY;
byte claims, holder, round = 1;
byte result;             /* the claim that finished this run */
bool published;
/* the rest of the hub, by claim */
bool upload[CLAIMS + 1], blob[CLAIMS + 1], condemned[CLAIMS + 1];
mtype model[CLAIMS + 1] = NONE;
/* what is to hold */
byte finishes[RUNS + 1];

#ifdef NO_FENCE
#define FENCE(c) (state == RUNNING)
#else
#define FENCE(c) (state == RUNNING && holder == c)
#endif

/* A crash after any step, except in the last claim. */
#define MAY_CRASH(c) if :: c < CLAIMS -> goto crashed :: true fi

/* Step 4 and 5 of the finish; by the runner and by the sweeper alike. An upsert with $setOnInsert: a tombstone stays. */
inline publish(c)
{
    d_step { if :: model[c] == NONE -> model[c] = LIVE :: else fi; assert(model[c] != LIVE || blob[c]) }
    d_step { if :: state == DONE && result == c -> published = true :: else fi }
    upload[c] = false
}

proctype Runner()
{
    byte mine; bool answered;
end:
    do
    :: atomic {
           state == READY && claims < CLAIMS ->
           claims++; mine = claims; holder = mine; state = RUNNING
       }
       MAY_CRASH(mine); /* a reply that is lost for good is a crash: the task is left to take-back */
#ifdef UNANNOUNCED
       blob[mine] = true; MAY_CRASH(mine);
       upload[mine] = true; MAY_CRASH(mine);
#else
       upload[mine] = true; MAY_CRASH(mine);
       blob[mine] = true; MAY_CRASH(mine);
#endif
       d_step { /* the commit */
           answered = FENCE(mine);
           if
           :: answered ->
              state = DONE; result = mine; published = false;
              finishes[round]++; assert(finishes[round] == 1); assert(blob[mine])
           :: else
           fi
       }
       MAY_CRASH(mine);
       if :: answered :: answered = false /* the reply is lost: read the task again */ fi;
#ifdef DELETE_OWN_BLOB
       if :: !answered -> blob[mine] = false :: else fi;
#endif
       if
       :: answered || (state == DONE && result == mine) -> publish(mine)
       :: else -> upload[mine] = false /* the lease is lost: write nothing more; the blob is gc's */
       fi;
crashed:
       mine = 0; answered = false
    od
}

proctype Sweeper()
{
    byte c;
end:
    do
    :: atomic { state == RUNNING && holder < CLAIMS -> c = holder } /* suspects the dead and the living alike */
       d_step { if :: state == RUNNING && holder == c -> state = READY :: else fi }
#ifndef NO_ROLL_FORWARD
    :: atomic { state == DONE && !published -> c = result }
       publish(c)
#endif
    od
}

proctype Gc()
{
    byte b, rounds; bool pointed;
    do
    :: rounds < 3 ->
       rounds++;
       if :: b = 1 :: b = 2 :: b = 3 fi;
       if
       :: d_step { blob[b] -> condemned[b] = true }
          /* the pointers, in the order in which they travel */
#ifdef STALE_BY_AGE
          pointed = false;
#else
          pointed = upload[b] && state == RUNNING && holder == b;
#endif
          if
          :: !pointed -> pointed = (state == DONE && result == b && !published) /* then the model has taken it over */
          :: else
          fi;
          if :: !pointed -> pointed = (model[b] == LIVE) :: else fi;
          d_step {
              if
              :: !pointed && condemned[b] -> blob[b] = false; upload[b] = false
              :: else
              fi;
              condemned[b] = false;
              assert(model[b] != LIVE || blob[b]);
              assert(!(state == DONE && result == b && model[b] != TOMBSTONE) || blob[b])
          }
       :: else
       fi;
       pointed = false
    :: rounds == 3 -> break
    od
}

proctype User()
{
    byte c;
end:
    do
    :: atomic { published && model[result] == LIVE -> c = result }
#ifdef NO_TOMBSTONE
       model[c] = NONE
#else
       model[c] = TOMBSTONE
#endif
    :: d_step { /* a new run; the model of the last one stays */
           state == DONE && published && round < RUNS && claims < CLAIMS ->
           round++; state = READY; result = 0; published = false
       }
    :: d_step { state == DONE && published -> state = DELETED; result = 0 }; break
    od
}

/* When nobody can move, the task has ended and its model can be found, or a tombstone says why not. */
proctype Observer()
{
    timeout;
    assert(state == DELETED || (state == DONE && published && model[result] != NONE))
}

init { atomic { run Runner(); run Runner(); run Sweeper(); run Gc(); run User(); run Observer() } }
