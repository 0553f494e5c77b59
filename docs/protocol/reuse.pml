/* SPDX-License-Identifier: Apache-2.0 */
/* Pointing to a blob that exists already (the same data saved again, a model tagged best twice) while gc and a user who
 * deletes the first pointer are at work. Whoever reuses a blob writes the pointer first, then takes the condemned mark
 * away; where the blob is gone by then, the pointer is undone and the blob written anew.
 *
 * Checked by `make model`; each of these makes it fail:
 *           -DNO_CONDEMNED_MARK  gc deletes without asking whether its mark still stands
 *           -DNO_UNSET           whoever reuses leaves the mark
 *           -DPOINTER_LAST       the mark is taken away before the pointer is written */
bool blob = true, first = true, second, condemned, deleted_first;
bool settled; /* the one who reuses has said that all is well */

proctype Reuser()
{
    bool there;
#ifdef POINTER_LAST
    d_step { there = blob; condemned = false }
    second = there
#else
    second = true;
#ifdef NO_UNSET
    there = blob
#else
    d_step { there = blob; if :: blob -> condemned = false :: else fi }
#endif
#endif
    ;
    if
    :: there -> settled = true
    :: else -> second = false /* undo; the data is uploaded again under a new id */
    fi
}

proctype Gc()
{
    byte rounds; bool pointed;
    do
    :: rounds < 2 ->
       rounds++;
       if
       :: d_step { blob -> condemned = true }
          pointed = first;
          if :: !pointed -> pointed = second :: else fi;
#ifdef NO_CONDEMNED_MARK
          if :: !pointed -> blob = false :: else fi;
          condemned = false
#else
          if
          :: !pointed -> d_step { if :: condemned -> blob = false :: else fi; condemned = false }
          :: else -> condemned = false
          fi
#endif
       :: else
       fi;
       assert(!(settled && second) || blob);
       pointed = false
    :: rounds == 2 -> break
    od
}

proctype User() { first = false; deleted_first = true }

init { atomic { run Reuser(); run Gc(); run User() } }

ltl kept { [] ((settled && second) -> blob) }
