/* What lanes_isa.h and its includer have defined is undone, for the next instruction set. */

#undef ISA
#undef LANES
#undef TARGET
#undef HAS_VNNI
#undef Lanes
#undef Ints
#undef LOAD
#undef LOAD_INTS
#undef STORE
#undef STORE_INTS
#undef EACH
#undef EACH_INT
#undef least_of
#undef most_of
#undef lesser_of
#undef greater_of
#undef mirrored
#undef begun_with
#undef any_over
#undef sum_of_8
#undef transpose
#undef transpose_back
#undef DEFINE_STAGE
#undef GET_lanes
#undef PUT_lanes
#undef RUN_STAGE
