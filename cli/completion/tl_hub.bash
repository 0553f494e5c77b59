# SPDX-License-Identifier: Apache-2.0
# Completion of tl_hub for bash. Verbs and options come from the program itself, so they are always its own.
_tl_hub() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} words
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ] || { [ "$verb" = help ] && [ "$COMP_CWORD" -eq 2 ]; }; then
        words=$("${COMP_WORDS[0]}" help --list 2>/dev/null)
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
        return
    fi
    case $before in
    -o | --output | --format)
        if [ "$verb" != get-model ] || [ "$before" = --format ]; then
            mapfile -t COMPREPLY < <(compgen -W 'table json csv' -- "$current")
            return
        fi
        ;;
    --state)
        mapfile -t COMPREPLY < <(compgen -W 'waiting delayed ready running paused done failed dead cancelled stopped' -- "$current")
        return
        ;;
    --kind)
        mapfile -t COMPREPLY < <(compgen -W 'train validate test infer' -- "$current")
        return
        ;;
    --split)
        mapfile -t COMPREPLY < <(compgen -W 'train validation test' -- "$current")
        return
        ;;
    esac
    if [[ $current == -* ]]; then
        words=$("${COMP_WORDS[0]}" help --list "$verb" 2>/dev/null | sed 's/=.*//')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o filenames -F _tl_hub tl_hub
